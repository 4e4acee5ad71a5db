/**
 * What follows a failure: the policy is asked, and what it says is done, unless a circuit says that the failure is not the
 * message's. What is to run again waits here as long as it may, its lane behind it; else it goes back to the queue.
 */
import * as Cause from "effect/Cause"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Circuit from "../../Circuit.js"
import { type Delivery, type HandlerTimeout, inFlight } from "../../Delivery.js"
import * as RetryPolicy from "../../RetryPolicy.js"
import * as Settlement from "../../Settlement.js"
import type { InFlight } from "../lease/inFlight.js"
import type { Source } from "../lease/source.js"
import { policyOf } from "../userCode/answer.js"
import type { Claims } from "./claims.js"
import { failureOf } from "./handler.js"
import type { RunFork } from "./runFork.js"
import { PolicyWarnings } from "./warnings.js"

/** As `Pipeline.ProcessOptions` have it. */
export interface FailureRules<E, D> {
  readonly retry?: RetryPolicy.PolicyInput<RetryPolicy.Failure<E>, D> | undefined
  readonly holdLimit?: Duration.DurationInput | undefined
  readonly onFailure?: "block" | "skip" | undefined
  readonly circuit?: Circuit.Circuit<RetryPolicy.Failure<E>> | undefined
}

/** How a failed item leaves its slot. */
export interface WaysOut {
  /** Whether a handler ran on it, and not an earlier stage has failed. */
  readonly ran: boolean
  readonly settled: () => void
  readonly hold: ((millis: number) => void) | undefined
  readonly defer: (() => void) | undefined
  readonly runAgain: () => void
}

/** What a circuit gives back stays away for at least so long, in milliseconds. */
const shortestAway = 1000

export class AfterFailure<E, D extends Delivery<unknown, unknown>> {
  readonly #claims: Claims
  readonly #policy: RetryPolicy.PolicyInput<RetryPolicy.Failure<E>, D>
  readonly #holdLimit: number
  readonly #skips: boolean
  readonly #circuit: Circuit.Engine<RetryPolicy.Failure<E>> | undefined
  readonly #warnings = new PolicyWarnings()
  readonly #sources = new Set<Source<InFlight>>()

  constructor(claims: Claims, { circuit, holdLimit = "5 minutes", onFailure, retry }: FailureRules<E, D>) {
    this.#claims = claims
    this.#policy = retry ?? RetryPolicy.standard
    this.#holdLimit = Duration.toMillis(holdLimit)
    this.#skips = onFailure === "skip"
    this.#circuit = circuit && Circuit.engine(circuit)
  }

  /**
   * A consumer says what its queue can do as it starts, or with its first delivery where an operator between runs it apart;
   * a policy that is a function says it as it is asked.
   */
  onStart(source: Source<InFlight>, runFork: RunFork<never>): void {
    if (this.#sources.has(source)) return
    this.#sources.add(source)
    if (typeof this.#policy !== "function") this.#warnings.look(this.#policy, source, runFork)
  }

  /** It has failed. */
  treat(delivery: D, cause: Cause.Cause<E | HandlerTimeout>, runFork: RunFork<never>, out: WaysOut): void {
    const held = inFlight(delivery)
    held.source.reports.failed(held, failureOf(delivery, cause))
    const circuit = this.#circuit
    if (circuit !== undefined && circuit.flow !== "all" && out.ran && circuit.trips(failureOf(delivery, cause))) {
      runFork(Effect.logDebug(`handler failed while ${circuit.name} is open`, cause), held)
      this.#waitForCircuit(held, circuit.remaining, out)
    } else {
      this.#ask(delivery, held, cause, runFork, out)
    }
  }

  /** It cannot run yet, for no fault of its own: it waits here where it may, and the policy is not asked. */
  wait(
    held: InFlight,
    millis: number,
    out: { readonly wait: ((millis: number) => void) | undefined; readonly settled: () => void }
  ): void {
    if (out.wait !== undefined && this.#mayWait(held, millis)) {
      held.failures.heldUntil = held.source.clock.now() + millis
      out.wait(millis)
    } else {
      held.settle(Settlement.retry(millis))
      out.settled()
    }
  }

  /** Whether it can stay here for so long. */
  #mayWait(held: InFlight, millis: number): boolean {
    const { clock, draining, leases } = held.source
    return !draining.begun && millis <= this.#holdLimit && clock.now() + millis < leases.keptUntil(held)
  }

  /** The circuit has opened before it could run again: it waits for it as what has tripped it does. */
  turnedBack(held: InFlight, out: Pick<WaysOut, "defer" | "settled">): void {
    this.#waitForCircuit(held, this.#circuit?.remaining, out)
  }

  #waitForCircuit(held: InFlight, remaining: number | undefined, out: Pick<WaysOut, "defer" | "settled">): void {
    if (out.defer !== undefined && this.#mayWait(held, remaining ?? 0)) {
      held.failures.inARow = 0
      out.defer()
    } else {
      held.settle(remaining === undefined ? Settlement.leave : Settlement.retry(Math.max(shortestAway, remaining)))
      out.settled()
    }
  }

  #ask(
    delivery: D,
    held: InFlight,
    cause: Cause.Cause<E | HandlerTimeout>,
    runFork: RunFork<never>,
    out: WaysOut
  ): void {
    const decide = Effect.suspend(() => {
      const failure = failureOf(delivery, cause)
      const policy = policyOf(this.#policy, failure, delivery)
      this.#warnings.look(policy, held.source, runFork)
      return RetryPolicy.decide(policy, failure, delivery)
    })
    const decided = runFork(
      // A logger reads the error, which may throw.
      Effect.catchAllCause(Effect.logDebug("handler failed", cause), () => Effect.void).pipe(
        Effect.zipRight(decide),
        Effect.tap((decision) => (decision._tag === "RunAgain" ? Effect.sleep(decision.delay) : Effect.void))
      ),
      held
    )
    this.#claims.decides(held, decided)
    decided.addObserver((exit) => {
      this.#claims.rests(held)
      if (this.#claims.stopped(decided, exit)) {
        held.settle(held.source.draining.afterStop)
        out.settled()
        return
      }
      if (Exit.isFailure(exit)) held.source.reports.undecided(held, Cause.squash(exit.cause))
      this.#follow(Exit.isSuccess(exit) ? exit.value : Settlement.leave, held, out)
    })
  }

  #follow(decision: RetryPolicy.Decision, held: InFlight, out: WaysOut): void {
    const { clock, lanes } = held.source
    if (decision._tag === "RunAgain") {
      held.failures.again()
      if (out.hold !== undefined) lanes.hold(held)
      out.runAgain()
      return
    }
    const delay = decision._tag === "Retry" ? Duration.toMillis(decision.delay) : Infinity
    if (out.hold !== undefined && held.tries?.runsElsewhere !== true && this.#mayWait(held, delay)) {
      held.failures.hold(clock.now() + delay)
      out.hold(delay)
      return
    }
    if (this.#skips) held.failures.skipped = true
    held.settle(decision)
    out.settled()
  }
}
