import { availableParallelism } from "node:os"
import { defineConfig } from "vitest/config"
import { BaseSequencer, type TestSpecification } from "vitest/node"
import projects from "./vitest.workspace.js"

/**
 * What takes longest, and what waits for most of its time (for processes, servers, the real clock: `w`), one among the other:
 * so that workers wait by turns, and no long file is left alone at the end.
 */
const first = [
  "test/packaging/packaging", // w
  "packages/examples/test/main-job", // w
  "packages/sqs/test/Diagnosis",
  "packages/core/test/AdaptiveConcurrency",
  "packages/redis/test/Quota", // w
  "packages/core/test/shares/tenants",
  "packages/examples/test/stories",
  "packages/dashboard/test/doors", // w
  "packages/core/test/Controls.stand",
  "packages/core/test/Throttle",
  "packages/sqs/test/emulator/SqsHttp", // w
  "packages/core/test/between-stages",
  "packages/core/test/Diagnosis",
  "packages/examples/test/dashboard", // w
  "packages/core/test/stand-ins",
  "test/docs/docs",
  "packages/sql/test/SqlIdempotencyStore", // w
  "packages/examples/test/simulate",
  "packages/core/test/once",
  "packages/sql/test/SqlOutbox", // w
  "packages/examples/test/throttled-producer",
  "packages/dynamodb/test/DynamoDbIdempotencyStore", // w
  "packages/sqs/test/Diagnosis.http",
  "packages/sqs/test/emulator/Protocols", // w
  "packages/core/test/Prioritized",
  "packages/core/test/starvation",
  "packages/dashboard/test/Dashboard", // w
  "packages/http/test/doors", // w
  "packages/promise/test/surface", // w
  "packages/sqs/test/asyncApi"
].map((name) => `/${name}.test.ts`)

/** In that order; the others as vitest has them, after those. */
class Sequencer extends BaseSequencer {
  override async sort(files: Array<TestSpecification>): Promise<Array<TestSpecification>> {
    const sorted = await super.sort(files)
    const rank = ({ moduleId }: TestSpecification) => {
      const index = first.findIndex((name) => moduleId.endsWith(name))
      return index < 0 ? first.length : index
    }
    return sorted.sort((a, b) => rank(a) - rank(b))
  }
}

// The projects are listed in vitest.workspace.ts; named here, vitest reads them without a word about deprecation.
export default defineConfig({
  test: {
    projects,
    // One more than cores, since of as many workers one waits most of the time. Vitest by itself takes one less than cores.
    maxWorkers: availableParallelism() + 1,
    // To load Effect, the SDK and our sources anew for each file would take most of the time of the short tests. And what
    // simulations make is garbage soon: with room to die in before it is copied, it costs them a fifth less of the CPU.
    poolOptions: { forks: { isolate: false, execArgv: ["--max-semi-space-size=64"] } },
    sequence: { sequencer: Sequencer }
  }
})
