import { defineWorkspace } from "vitest/config"
import { alias } from "./vitest.shared.js"

export default defineWorkspace(
  ["core", "sqs", "examples"].map((name) => ({
    resolve: { alias },
    test: { name, root: `packages/${name}`, include: ["test/**/*.test.ts"] }
  }))
)
