/**
 * Keeps the AWS SDK from warning that it will drop Node 20: on stderr of a tool that is piped and parsed it is noise, and
 * README.md tells it. This is the SDK's own switch, so all other warnings stay. REQUIRES: called before the SDK makes a client.
 */
export function silenceNodeVersionWarning(env: Record<string, string | undefined>): void {
  env["AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"] ??= "true";
}
