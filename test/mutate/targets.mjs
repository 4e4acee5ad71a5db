/**
 * What is mutated, and the tests that concern it, by file name (with its folder where another file has the same), wherever
 * under `packages` the files are. Of these run those that are fast and reach the mutant.
 */
export const targets = [
  ...[
    "permits.ts",
    "demand.ts",
    "Intake.ts",
    "prefetched.ts",
    "openPolls.ts",
    "lostAttempts.ts",
    "backOff.ts",
    "fatalGrace.ts",
    "tokens.ts",
    "pollers.ts",
    "receive/arrivals.ts"
  ].map((file) => ({ file, tests: ["Intake.test.ts", "ownership.test.ts", "refusals.test.ts"] })),
  ...["Settler.ts", "batches.ts", "noLoss.ts", "settlements.ts", "ends.ts", "handBack.ts"].map((file) => ({
    file,
    tests: ["Settler.test.ts", "refusals.test.ts", "stopping.test.ts", "core/test/groups.test.ts"]
  })),
  { file: "drain.ts", tests: ["stopping.test.ts", "ownership.test.ts", "between-stages.test.ts"] },
  { file: "leases.ts", tests: ["LeaseKeeper.test.ts", "retries.test.ts"] },
  { file: "LeaseKeeper.ts", tests: ["LeaseKeeper.test.ts", "wall-clock.test.ts", "refusals.test.ts"] },
  { file: "internal/lease/order.ts", tests: ["core/test/groups.test.ts", "batches.test.ts"] },
  ...["oneSettlement.ts", "inFlight.ts"].map((file) => ({
    file,
    tests: ["LeaseKeeper.test.ts", "ownership.test.ts", "retries.test.ts", "refusals.test.ts"]
  })),
  ...["stage.ts", "lanes.ts", "claims.ts", "held.ts", "ready.ts", "run/results.ts", "signal.ts"].map((file) => ({
    file,
    tests: [
      "Pipeline.test.ts",
      "ownership.test.ts",
      "core/test/groups.test.ts",
      "batches.test.ts",
      "retries.test.ts",
      "Circuit.test.ts",
      "stopping.test.ts"
    ]
  })),
  { file: "laneTable.ts", tests: ["starvation.test.ts", "core/test/groups.test.ts"] },
  ...["outbox.ts", "sendLanes.ts", "call.ts"].map((file) => ({
    file,
    tests: ["SqsProducer.test.ts", "SqsProducer.simulation.test.ts"]
  })),
  { file: "sendBack.ts", tests: ["SqsDeadLetter.test.ts", "SqsDeadLetter.simulation.test.ts"] },
  {
    file: "SqsLeaseQueue.ts",
    tests: ["SqsLeaseQueue.test.ts", "SqsLeaseQueue.conformance.test.ts", "SqsConsumer.test.ts"]
  }
]

/** Statements and calls that only tell, or count for figures: no invariant hangs on them. */
export const onlyTells =
  /\b(log(Debug|Info|Warning|Error)?|annotate\w*|observer|metrics|gauge|notices|onCall|onPoll|onError)\b|#gauge|#measure|\b(starved|pausing|throttled|failing)\b\.set|fullReceives|shortReceives|lastReceive|receivingSince|stopwatch/
