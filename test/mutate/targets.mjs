/**
 * What is mutated: the files that keep an invariant, by package and by name (with its folder where another file has the
 * same), wherever in it they are; and the tests, of which those run that are fast and reach the mutant.
 */
export const targets = [
  {
    pkg: "core",
    files: [
      ...["permits.ts", "demand.ts", "Intake.ts", "prefetched.ts", "openPolls.ts", "lostAttempts.ts", "backOff.ts"],
      ...[
        "fatalGrace.ts",
        "tokens.ts",
        "pollers.ts",
        "receive/arrivals.ts",
        "allowance.ts",
        "turns.ts",
        "sharedPermits.ts"
      ],
      ...[
        "Settler.ts",
        "batches.ts",
        "noLoss.ts",
        "settlements.ts",
        "ends.ts",
        "handBack.ts",
        "oneSettlement.ts",
        "byReceive.ts"
      ],
      ...[
        "drain.ts",
        "LeaseKeeper.ts",
        "inFlight.ts",
        "inFlightTable.ts",
        "laneTable.ts",
        "internal/lease/groupOrder.ts"
      ],
      ...["leaseLimits.ts", "tries.ts", "waiters.ts"],
      ...["stage.ts", "lanes.ts", "claims.ts", "held.ts", "ready.ts", "run/results.ts", "signal.ts", "run/slots.ts"],
      ...["run/shares.ts", "inTurn.ts"]
    ],
    /** Not those of what looks on, of types, or of the stand. */
    tests: (path) =>
      path.endsWith(".test.ts") &&
      !/types\.test|stand|Diagnosis|Scaling|Alarm|Backlog|AdaptiveConcurrency|bounds\.test|Conformance|MemoryQueueModel/.test(
        path
      )
  },
  {
    pkg: "sqs",
    files: ["outbox.ts", "sendLanes.ts", "call.ts", "sendBack.ts", "SqsLeaseQueue.ts", "maxCalls.ts", "queueBehind.ts"],
    tests: (path) =>
      /(SqsProducer|SqsDeadLetter|SqsLeaseQueue|SqsConsumer|SqsLambda)\.[\w.]*test|test\/(send|deadLetter)\/|maxCalls|back\.test|options\.test|fifo-calls|deadlines\.test/.test(
        path
      )
  }
]

/** Statements and calls that only tell, or count for figures: no invariant hangs on them. */
export const onlyTells =
  /\b(log(Debug|Info|Warning|Error)?|annotate\w*|observer|metrics|gauge|notices|onCall|onPoll|onError|onLate)\b|#gauge|#measure|\b(starved|pausing|throttled|failing)\b\.set|fullReceives|shortReceives|lastReceive|receivingSince|stopwatch/
