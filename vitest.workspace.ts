import { defineWorkspace } from "vitest/config"
import { plugin } from "./test/docs/modules.js"
import { alias } from "./vitest.shared.js"

/** One project for all packages, so that the files of a worker, whosever they are, share what they have loaded. */
export default defineWorkspace([
  {
    resolve: { alias },
    plugins: [plugin()],
    test: {
      name: "millrace",
      include: ["packages/*/test/**/*.test.ts", "test/*/*.test.ts"],
      setupFiles: ["test/setup.ts"],
      env: {
        // What a machine's proxy is for is not what tests call on it.
        NO_PROXY: "localhost,127.0.0.1,[::1]",
        // Tests make clients of the SDK by hand; our own is silent by itself, which `SqsClient.notice.test` checks.
        AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: "true",
        AWS_SDK_JS_SUPPRESS_MAINTENANCE_MODE_MESSAGE: "1"
      },
      // Time is virtual, so what takes long is work: many seeds, on a busy machine.
      testTimeout: 60_000
    }
  }
])
