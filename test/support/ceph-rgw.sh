#!/usr/bin/env bash
# A one-node Ceph object gateway for the tests: real conditional writes, no Docker, no root, about a second to start.
#
#   apt-get install -y --no-install-recommends radosgw ceph-osd ceph-mon
#   RGW_DIR=/some/new/dir test/support/ceph-rgw.sh start|stop
#   … kill-gateway|start-gateway     ends the gateway by kill -9, starts it again over the same data
#   … pause-osd|resume-osd           SIGSTOP and SIGCONT: requests wait, and are carried out when it goes on
#
# start prints "endpoint http://127.0.0.1:PORT" last. Everything lives in RGW_DIR, which must not exist yet; stop kills the
# three daemons whose pids are recorded there, and no others, and removes it. Ports: RGW_PORT and MON_PORT, free ones by default.
# RGW_CERT and RGW_KEY, PEM files: serves TLS as well, on RGW_TLS_PORT, prints "tls-endpoint https://…" before, and takes customers'
# keys and KMS over TLS alone.
# OSD_STORE=bluestore keeps the data over a kill -9 of the OSD (memstore, the default, does not, but is faster).
set -euo pipefail

RGW_DIR=${RGW_DIR:?set RGW_DIR to a directory that does not exist yet}
OSD_STORE=${OSD_STORE:-memstore}
RGW_CERT=${RGW_CERT:-}
S3_KEY=${S3_KEY:-testaccesskey}
S3_SECRET=${S3_SECRET:-testsecretkey}
CONF=$RGW_DIR/ceph.conf
export CEPH_CONF=$CONF
FSID=7e1f0a52-93c1-4e0e-8f4a-5b7d0c2a9e10
OSD_UUID=c0ffee00-1b5d-4c55-9a6e-2f1e7d3b8a44

free_port() { # free_port FROM: the first port from FROM up where nobody answers
  local port=$1
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
  echo "$port"
}

write_conf() {
  cat > "$CONF" <<EOF
[global]
fsid = $FSID
mon_host = v2:127.0.0.1:$MON_PORT
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
# The gateway asks for "secure" by default, which auth "none" cannot give: it would hang without a word.
ms_mon_client_mode = crc
keyring = $RGW_DIR/keyring
run_dir = $RGW_DIR/run
admin_socket = $RGW_DIR/run/\$name.asok
pid_file = $RGW_DIR/run/\$name.daemon-pid
log_file = $RGW_DIR/log/\$name.log
crash_dir = $RGW_DIR/crash
plugin_dir = /usr/lib/$(uname -m)-linux-gnu/ceph
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 2000
mon_data_avail_crit = 1
mon_data_avail_warn = 2
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
ms_bind_port_min = 7500
ms_bind_port_max = 7900
[mon]
mon_data = $RGW_DIR/mon
mon_election_timeout = 1
mon_lease = 2
[osd]
osd_data = $RGW_DIR/osd
osd_objectstore = $OSD_STORE
osd_class_default_list = *
osd_class_load_list = *
osd_fast_shutdown = true
osd_memory_target = 1073741824
memstore_device_bytes = 8G
bluestore_block_size = 10737418240
bluestore_block_create = true
[client.rgw]
rgw_data = $RGW_DIR/rgw
# Without tcp_nodelay every GET waits 40 ms for a delayed ack.
rgw_frontends = beast endpoint=127.0.0.1:$RGW_PORT tcp_nodelay=1${TLS:+ $TLS}
rgw_thread_pool_size = 64
rgw_override_bucket_index_max_shards = 1
rgw_run_sync_thread = false
rgw_enable_usage_log = false
# Without TLS: keys for encryption at rest over plain HTTP, which only a test may do. The key of KMS is 32 bytes of 0x2a.
rgw_crypt_require_ssl = $REQUIRE_TLS
rgw_crypt_s3_kms_backend = testing
rgw_crypt_s3_kms_encryption_keys = tierlog-key=KioqKioqKioqKioqKioqKioqKioqKioqKioqKioqKio=
EOF
}

daemon() { # daemon NAME COMMAND...: in a session of its own, so that ctrl-C in the terminal does not reach it
  local name=$1
  shift
  setsid "$@" > "$RGW_DIR/log/$name.out" 2>&1 < /dev/null &
  echo $! > "$RGW_DIR/run/$name.pid"
}

wait_for() { # wait_for SECONDS WHAT COMMAND...
  local until=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" > /dev/null 2>&1; do
    if [ "$SECONDS" -ge "$until" ]; then
      echo "ceph-rgw.sh: gave up waiting for the $what" >&2
      return 1
    fi
    sleep 0.05
  done
}

osd_is_up() { ceph -c "$CONF" --connect-timeout 3 osd stat | grep -q '1 up'; }
gateway_answers() { (exec 3<>"/dev/tcp/127.0.0.1/$RGW_PORT" && printf 'GET / HTTP/1.0\r\n\r\n' >&3 && head -1 <&3 | grep -q ' 200'); }

start() {
  if [ -e "$RGW_DIR" ]; then
    echo "ceph-rgw.sh: $RGW_DIR is there already; stop it first" >&2
    exit 1
  fi
  RGW_PORT=${RGW_PORT:-$(free_port 7480)}
  MON_PORT=${MON_PORT:-$(free_port $((RGW_PORT + 1)))}
  TLS=
  REQUIRE_TLS=false
  if [ -n "$RGW_CERT" ]; then
    RGW_TLS_PORT=${RGW_TLS_PORT:-$(free_port $((MON_PORT + 1)))}
    TLS="ssl_endpoint=127.0.0.1:$RGW_TLS_PORT ssl_certificate=$RGW_CERT ssl_private_key=${RGW_KEY:?}"
    REQUIRE_TLS=true
  fi
  mkdir -p "$RGW_DIR"/{run,log,mon,osd,rgw,crash}
  trap 'code=$?; [ $code = 0 ] || { tail -n 20 "$RGW_DIR"/log/*.out >&2 || true; stop; }' EXIT
  write_conf
  : > "$RGW_DIR/keyring"

  monmaptool --create --fsid "$FSID" --addv a "[v2:127.0.0.1:$MON_PORT]" "$RGW_DIR/monmap" > /dev/null
  ceph-mon -c "$CONF" -i a --mkfs --monmap "$RGW_DIR/monmap" > /dev/null
  daemon mon ceph-mon -c "$CONF" -i a -f
  ceph-osd -c "$CONF" -i 0 --mkfs --osd-uuid "$OSD_UUID" > "$RGW_DIR/log/osd-mkfs.out" 2>&1 &
  local mkfs=$!
  wait_for 30 monitor ceph -c "$CONF" --connect-timeout 3 osd new "$OSD_UUID" 0
  wait "$mkfs"
  daemon osd ceph-osd -c "$CONF" -i 0 -f
  wait_for 30 OSD osd_is_up
  radosgw-admin -c "$CONF" -n client.rgw user create --uid=test --display-name=test \
    --access-key="$S3_KEY" --secret-key="$S3_SECRET" > "$RGW_DIR/log/user.out" 2>&1
  start_gateway
  [ -z "$TLS" ] || echo "tls-endpoint https://127.0.0.1:$RGW_TLS_PORT"
  echo "endpoint http://127.0.0.1:$RGW_PORT"
}

start_gateway() {
  RGW_PORT=${RGW_PORT:-$(sed -n 's/.*endpoint=127.0.0.1:\([0-9]*\).*/\1/p' "$CONF")}
  daemon rgw radosgw -c "$CONF" -n client.rgw -f
  wait_for 60 gateway gateway_answers
}

pid_of() { cat "$RGW_DIR/run/$1.pid" 2> /dev/null; }

end() { # end NAME: by -9; a polite gateway takes up to ten seconds
  local pid
  pid=$(pid_of "$1") || return 0
  kill -9 "$pid" 2> /dev/null || true
  for _ in $(seq 100); do
    kill -0 "$pid" 2> /dev/null || break
    sleep 0.05
  done
}

stop() {
  local name
  for name in rgw osd mon; do end "$name"; done
  rm -rf "$RGW_DIR"
}

case ${1:-} in
  start) start ;;
  stop) stop ;;
  kill-gateway) end rgw ;;
  start-gateway) start_gateway ;;
  pause-osd) kill -STOP "$(pid_of osd)" ;;
  resume-osd) kill -CONT "$(pid_of osd)" ;;
  *)
    sed -n '2,13p' "$0" >&2
    exit 64
    ;;
esac
