/**
 * What is mutated, and the tests that concern it, by file name alone, wherever under `packages` the files are. Of these run
 * those that are fast and reach the mutant.
 */
const core = [
  "Intake.test.ts",
  "Settler.test.ts",
  "LeaseKeeper.test.ts",
  "refusals.test.ts",
  "stopping.test.ts",
  "ownership.test.ts",
  "groups.test.ts",
  "batches.test.ts",
  "starvation.test.ts",
  "retries.test.ts",
  "Pipeline.test.ts",
  "Circuit.test.ts",
  "Figures.test.ts",
  "metrics.test.ts",
  "wall-clock.test.ts",
  "went-wrong-elsewhere.test.ts"
]

export const targets = [
  ...["Intake.ts", "Settler.ts", "LeaseKeeper.ts", "Sequencer.ts", "inFlight.ts", "stage.ts", "laneTable.ts"].map(
    (file) => ({
      file,
      tests: core
    })
  ),
  { file: "outbox.ts", tests: ["SqsProducer.test.ts", "SqsProducer.simulation.test.ts"] },
  { file: "sendBack.ts", tests: ["SqsDeadLetter.test.ts", "SqsDeadLetter.simulation.test.ts"] },
  {
    file: "SqsLeaseQueue.ts",
    tests: ["SqsLeaseQueue.test.ts", "SqsLeaseQueue.conformance.test.ts", "SqsConsumer.test.ts"]
  }
]

/** Statements and calls that only tell, or count for figures: no invariant hangs on them. */
export const onlyTells =
  /\b(log(Debug|Info|Warning|Error)?|annotate\w*|observer|metrics|gauge|notices|onCall|onPoll|onError)\b|#gauge|#measure|\b(starved|pausing|throttled|failing)\b\.set|fullReceives|shortReceives|lastReceive|receivingSince|stopwatch/
