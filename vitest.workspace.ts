import { defineWorkspace } from "vitest/config"
import { plugin } from "./test/docs/modules.js"
import { alias } from "./vitest.shared.js"

const project = (name: string, root: string, env: Record<string, string> = {}) => ({
  resolve: { alias },
  // Time is virtual, so what takes long is work: many seeds, on a busy machine.
  // What a machine's proxy is for is not what tests call on it.
  test: {
    name,
    root,
    env: { NO_PROXY: "localhost,127.0.0.1,[::1]", ...env },
    include: ["test/**/*.test.ts", "*.test.ts"],
    testTimeout: 60_000
  }
})

/** Tests make clients of the SDK by hand; our own client is silent by itself, which `SqsClient.notice.test` checks. */
const withoutNotice = {
  AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: "true",
  AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE: "1"
}

export default defineWorkspace([
  project("core", "packages/core"),
  project("sqs", "packages/sqs", withoutNotice),
  project("http", "packages/http"),
  project("dashboard", "packages/dashboard"),
  project("sql", "packages/sql"),
  project("redis", "packages/redis"),
  project("dynamodb", "packages/dynamodb"),
  project("promise", "packages/promise", withoutNotice),
  project("examples", "packages/examples"),
  { ...project("docs", "test/docs"), plugins: [plugin()] },
  // No alias: what is tested is the tarballs.
  { test: { name: "packaging", root: "test/packaging", include: ["*.test.ts"] } }
])
