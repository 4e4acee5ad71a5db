import { defineWorkspace } from "vitest/config"
import { alias } from "./vitest.shared.js"

const project = (name: string, root: string) => ({
  resolve: { alias },
  // Time is virtual, so what takes long is work: many seeds, on a busy machine.
  test: { name, root, include: ["test/**/*.test.ts"], testTimeout: 30_000 }
})

export default defineWorkspace([
  project("core", "packages/core"),
  project("sqs", "packages/sqs"),
  project("examples", "packages/examples"),
  // No alias: what is tested is the tarballs.
  { test: { name: "packaging", root: "test/packaging", include: ["*.test.ts"] } }
])
