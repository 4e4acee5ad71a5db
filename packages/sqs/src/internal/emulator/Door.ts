/** From a request to its answer, in the protocol in which it was asked. */
import * as Effect from "effect/Effect"
import type { Api } from "./Calls.js"
import * as Failure from "./Failure.js"
import * as Json from "./Json.js"
import * as Operations from "./Operations.js"
import type { Answer, Request } from "./Protocol.js"
import * as Query from "./Query.js"

export const answer = (
  api: Api,
  request: Request,
  context: Operations.Context,
  requestId: string
): Effect.Effect<Answer> => {
  try {
    const json = Json.speaks(request)
    const { input, operation } = json ? Json.read(request) : Query.read(request)
    return Effect.match(Operations.run(api, operation, input, context), {
      onSuccess: (value) => (json ? Json.succeeded(value) : Query.succeeded(request, operation, value, requestId)),
      onFailure: (error) => refused(request, Failure.of(error), error.message, requestId)
    })
  } catch (thrown) {
    if (thrown instanceof Query.NoAction) return Effect.succeed(Query.noAction)
    if (!(thrown instanceof Operations.Unreadable)) return Effect.die(thrown)
    return Effect.succeed(refused(request, thrown.failure, thrown.message, requestId))
  }
}

/** A refusal that the client can show, whoever refuses. */
export const refused = (request: Request, failure: Failure.Failure, message: string, requestId: string): Answer =>
  Json.speaks(request) ? Json.failed(failure, message) : Query.failed(request, failure, message, requestId)

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, "0").slice(-digits)

/** Ids of the form of AWS's, each once. */
export const requestIds = ([a, b]: readonly [number, number]): (() => string) => {
  let count = 0
  const prefix = `${hex(a, 8)}-${hex(b, 4)}-5${hex(b >>> 16, 3)}-9${hex(a ^ b, 3)}-`
  return () => prefix + hex(++count, 12)
}
