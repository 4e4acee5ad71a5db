/**
 * The notice that this Node version will be dropped one day is for who maintains the program, not for each who runs
 * it: the SDK's own switch is on while a client of it is made, and nothing else is silenced.
 */
export const withoutNotice = <A>(make: () => A): A => {
  const name = "AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED"
  const before = process.env[name]
  process.env[name] = "true"
  try {
    return make()
  } finally {
    if (before === undefined) delete process.env[name]
    else process.env[name] = before
  }
}
