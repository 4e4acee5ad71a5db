import { availableParallelism } from "node:os"
import { defineConfig } from "vitest/config"
import projects from "./vitest.workspace.js"

// The projects are listed in vitest.workspace.ts; named here, vitest reads them without a word about deprecation.
export default defineConfig({
  test: {
    projects,
    // A worker a core: vitest by itself takes one less, which of two cores leaves half.
    maxWorkers: availableParallelism()
  }
})
