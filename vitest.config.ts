import { availableParallelism } from "node:os"
import { defineConfig } from "vitest/config"
import { BaseSequencer, type TestSpecification } from "vitest/node"
import projects from "./vitest.workspace.js"

/** As vitest has it, but the packaging tests first: they take longest, and much of it is waiting for npm. */
class Sequencer extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    const sorted = await super.sort(files)
    const isFirst = ({ moduleId }: TestSpecification) => moduleId.includes("/test/packaging/")
    return [...sorted.filter(isFirst), ...sorted.filter((file) => !isFirst(file))]
  }
}

// The projects are listed in vitest.workspace.ts; named here, vitest reads them without a word about deprecation.
export default defineConfig({
  test: {
    projects,
    // A worker a core: vitest by itself takes one less, which of two cores leaves half. None is ended while it is idle, since
    // one that is given a file at that moment ends the run.
    maxWorkers: availableParallelism(),
    minWorkers: availableParallelism(),
    // To load Effect, the SDK and our sources anew for each file would take most of the time of the short tests. And what
    // simulations make is garbage soon: with room to die in before it is copied, it costs them a fifth less of the CPU.
    poolOptions: { forks: { isolate: false, execArgv: ["--max-semi-space-size=64"] } },
    sequence: { sequencer: Sequencer }
  }
})
