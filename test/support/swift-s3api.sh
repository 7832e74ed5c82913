#!/usr/bin/env bash
# A one-node OpenStack Swift with its S3 front for the tests: a store that refuses conditional writes. No Docker, no root.
#
#   apt-get install -y --no-install-recommends swift swift-proxy swift-object swift-container swift-account memcached
#   SWIFT_DIR=/some/new/dir test/support/swift-s3api.sh start|stop
#
# start prints "endpoint http://127.0.0.1:PORT" last; the access key is "test:tester", the secret "testing". Everything lives in
# SWIFT_DIR, which must not exist yet; stop kills the daemons whose pids are recorded there, and no others, and removes it. Five
# free ports from SWIFT_PORT (7580) up are used.
set -euo pipefail

SWIFT_DIR=${SWIFT_DIR:?set SWIFT_DIR to a directory that does not exist yet}
USER_NAME=$(id -un)

free_port() { # free_port FROM: the first port from FROM up where nobody answers
  local port=$1
  while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
  echo "$port"
}

daemon() { # daemon NAME COMMAND...: in a session of its own, so that ctrl-C in the terminal does not reach it
  local name=$1
  shift
  setsid "$@" > "$SWIFT_DIR/log/$name.out" 2>&1 < /dev/null &
  echo $! > "$SWIFT_DIR/run/$name.pid"
}

write_storage_conf() { # write_storage_conf object|container|account PORT
  local name=$1 port=$2
  swift-ring-builder "$name.builder" create 4 1 0 > /dev/null
  swift-ring-builder "$name.builder" add "r1z1-127.0.0.1:$port/d1" 1 > /dev/null
  # 1: done, with a warning about the single device.
  swift-ring-builder "$name.builder" rebalance > /dev/null 2>&1 || [ $? = 1 ]
  cat > "$name-server.conf" <<EOF
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $port
user = $USER_NAME
swift_dir = $SWIFT_DIR/etc
devices = $SWIFT_DIR/dev
mount_check = false
workers = 1
recon_cache_path = $SWIFT_DIR/cache
log_name = $name
log_address = $SWIFT_DIR/log/none
fallocate_reserve = 0
[pipeline:main]
pipeline = $name-server
[app:$name-server]
use = egg:swift#$name
EOF
}

write_proxy_conf() {
  cat > proxy-server.conf <<EOF
[DEFAULT]
bind_ip = 127.0.0.1
bind_port = $PROXY
user = $USER_NAME
swift_dir = $SWIFT_DIR/etc
workers = 2
log_address = $SWIFT_DIR/log/none
[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats s3api tempauth copy bulk slo dlo versioned_writes proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:$MEMCACHED
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
s3_acl = false
dns_compliant_bucket_names = true
min_segment_size = 5242880
allow_multipart_uploads = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:copy]
use = egg:swift#copy
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_versioned_writes = true
EOF
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$PROXY" && printf 'GET / HTTP/1.0\r\n\r\n' >&3 && head -1 <&3 | grep -q HTTP); }

start() {
  if [ -e "$SWIFT_DIR" ]; then
    echo "swift-s3api.sh: $SWIFT_DIR is there already; stop it first" >&2
    exit 1
  fi
  PROXY=$(free_port "${SWIFT_PORT:-7580}")
  MEMCACHED=$(free_port $((PROXY + 1)))
  local object container account
  object=$(free_port $((MEMCACHED + 1)))
  container=$(free_port $((object + 1)))
  account=$(free_port $((container + 1)))
  mkdir -p "$SWIFT_DIR"/{etc,dev/d1,cache,log,run}
  trap 'code=$?; [ $code = 0 ] || { tail -n 20 "$SWIFT_DIR"/log/*.out >&2 || true; stop; }' EXIT
  cd "$SWIFT_DIR/etc"
  cat > swift.conf <<EOF
[swift-hash]
swift_hash_path_prefix = a
swift_hash_path_suffix = b
[storage-policy:0]
name = Policy-0
default = yes
[swift-constraints]
max_header_size = 32768
EOF
  write_storage_conf object "$object"
  write_storage_conf container "$container"
  write_storage_conf account "$account"
  write_proxy_conf

  daemon memcached memcached -l 127.0.0.1 -p "$MEMCACHED" -u "$USER_NAME" -m 64
  local name
  for name in account container object proxy; do daemon "$name" "swift-$name-server" "$SWIFT_DIR/etc/$name-server.conf"; done
  local until=$((SECONDS + 60))
  until answers 2> /dev/null; do
    if [ "$SECONDS" -ge "$until" ]; then
      echo "swift-s3api.sh: gave up waiting for the proxy" >&2
      exit 1
    fi
    sleep 0.1
  done
  echo "endpoint http://127.0.0.1:$PROXY"
}

stop() {
  local file pid
  for file in "$SWIFT_DIR"/run/*.pid; do
    [ -s "$file" ] || continue
    pid=$(cat "$file")
    # Each leads a session of its own, with its workers.
    kill -9 -- "-$pid" 2> /dev/null || kill -9 "$pid" 2> /dev/null || true
    for _ in $(seq 100); do
      kill -0 "$pid" 2> /dev/null || break
      sleep 0.05
    done
  done
  rm -rf "$SWIFT_DIR"
}

case ${1:-} in
  start) start ;;
  stop) stop ;;
  *)
    sed -n '2,9p' "$0" >&2
    exit 64
    ;;
esac
