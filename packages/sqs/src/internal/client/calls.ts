/**
 * One call from its start to its typed end, by whatever transport: its time limits, the second try of one that was
 * signed at the wrong time, the checksums of its bodies. Nothing throws in a callback of a promise: such a call would
 * never end.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Tracer from "effect/Tracer"
import type { SqsError } from "../../SqsError.js"
import { withSpan } from "../effect/span.js"
import * as Checksums from "./checksums.js"
import type { Deadlines } from "./deadlines.js"
import { fromThrown, noCredentialsYet, timedOut, unreadable } from "./errors.js"
import type { Call, Input, Operation, Options } from "./operations.js"
import { tellRequestId } from "./requestId.js"

/** A request on its way. */
export interface Outgoing {
  /** Ends it. */
  abort(): void
  /** Ends it: it had no answer in its time. */
  expire(): void
  /** Whether it was refused for the time that it was signed at, which is put right now. */
  clockCorrected(refusal: unknown): boolean
}

/** What calls go by. */
export interface Transport {
  /** Sends one call. `onSent` tells when there are credentials and the request goes out. Never throws. */
  readonly send: (
    operation: Operation,
    input: Input,
    onSent: () => void
  ) => { readonly answer: Promise<unknown>; readonly call: Outgoing }
  /** Whether bodies are held against their MD5s here, and not by the transport. */
  readonly checksBodies: boolean
}

/** What was thrown may throw when it is looked at: it says nothing of the clock then. */
const clockCorrected = (call: Outgoing, refusal: unknown): boolean => {
  try {
    return call.clockCorrected(refusal)
  } catch {
    return false
  }
}

/** So may what a tracer of somebody else's is told. */
const told = (span: Tracer.AnySpan | undefined, input: Input, answer: unknown): void => {
  try {
    tellRequestId(span, input, answer)
  } catch {
    // The call goes on without it.
  }
}

/** How long the source of credentials may take, in milliseconds: a sign-on, or another process. */
const credentialsWithin = 60_000

export const make = ({ checksBodies, send }: Transport, deadlines: Deadlines, timeout: Duration.Duration): Call => {
  const timeoutMillis = Duration.toMillis(timeout)
  const check = Checksums.make()
  return <Output>(operation: Operation, input: Input, { echoes, waitSeconds = 0 }: Options<Output> = {}) => {
    const millis = waitSeconds * 1000 + timeoutMillis
    const failed = fromThrown(operation)
    const read = (answer: unknown): Effect.Effect<Output, SqsError> => {
      const output = answer as Output
      if (echoes === undefined || !checksBodies) return Effect.succeed(output)
      try {
        return Effect.flatMap(check(echoes(output)), (wrong) =>
          wrong === undefined ? Effect.succeed(output) : Effect.fail(failed(wrong))
        )
      } catch (cause) {
        return Effect.fail(unreadable(operation, "it is not of the form that it should have", cause))
      }
    }
    const attempt = (again: boolean, span: Tracer.AnySpan | undefined): Effect.Effect<Output, SqsError> =>
      Effect.async((resume) => {
        // A source of credentials has a time of its own.
        let answered = deadlines(credentialsWithin, () => {
          resume(Effect.fail(noCredentialsYet(operation, credentialsWithin)))
          call.abort()
        })
        const { answer, call } = send(operation, input, () => {
          answered()
          answered = deadlines(millis, () => {
            resume(Effect.fail(timedOut(operation, millis)))
            call.expire()
          })
        })
        answer.then(
          (output) => {
            answered()
            told(span, input, output)
            resume(read(output))
          },
          (cause) => {
            answered()
            told(span, input, cause)
            resume(again && clockCorrected(call, cause) ? attempt(false, span) : Effect.fail(failed(cause)))
          }
        )
        return Effect.sync(() => {
          answered()
          call.abort()
        })
      })
    return withSpan((span) => attempt(true, span))
  }
}
