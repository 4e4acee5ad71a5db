/**
 * Whether a function's event source mapping takes notice of batchItemFailures: nothing in an event says so, and a mapping
 * that does not deletes what has failed. Lambda's API knows.
 *
 * @see https://docs.aws.amazon.com/lambda/latest/api/API_ListEventSourceMappings.html
 */
import * as Reason from "@millrace/core/Reason"
import * as Clock from "effect/Clock"
import * as Data from "effect/Data"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { LambdaContext } from "../../lambda/LambdaEvent.js"
import * as Signature from "../wire/signature.js"

class NoAnswer extends Data.TaggedError("NoAnswer")<{ readonly message: string; readonly final: boolean }> {}

const path = "/2015-03-31/event-source-mappings/"

const configuredEndpoint = (): string | undefined =>
  /^true$/i.test(process.env["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] ?? "")
    ? undefined
    : process.env["AWS_ENDPOINT_URL_LAMBDA"] || process.env["AWS_ENDPOINT_URL"] || undefined

const endpointOf = (region: string): string =>
  configuredEndpoint() ?? `https://lambda.${region}.amazonaws.com${region.startsWith("cn-") ? ".cn" : ""}`

const get = (region: string, query: string, millis: number) =>
  Effect.gen(function* () {
    const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = process.env
    if (!accessKeyId || !secretAccessKey) {
      return yield* new NoAnswer({ message: "there are no credentials in the environment", final: true })
    }
    // Neither an endpoint that is no URL nor a key that cannot be may end the invocation: what is done is still to be deleted.
    const { headers, url } = yield* Effect.try({
      try: () => {
        const url = new URL(`${path}?${query}`, endpointOf(region))
        const headers: Record<string, string> = { host: url.host }
        Signature.make("lambda")(
          { headers, method: "GET", path, query },
          { accessKeyId, secretAccessKey, sessionToken: process.env["AWS_SESSION_TOKEN"] || undefined },
          region,
          millis
        )
        return { headers, url }
      },
      catch: (thrown) => new NoAnswer({ message: Reason.of(thrown), final: true })
    })
    const { status, text } = yield* Effect.tryPromise({
      try: async (signal) => {
        const response = await fetch(url, { headers, signal })
        return { status: response.status, text: await response.text() }
      },
      catch: (thrown) => new NoAnswer({ message: Reason.of(thrown), final: false })
    })
    if (status === 200) return text
    return yield* new NoAnswer({
      message: `Lambda answered ${status}: ${text.slice(0, 300)}`,
      final: status < 500 && status !== 429
    })
  })

interface Page {
  readonly mappings: ReadonlyArray<unknown>
  /** Where the next page begins; a page may be empty and have one. */
  readonly next: string | undefined
}

const pageIn = (text: string): Page | undefined => {
  try {
    const answer: unknown = JSON.parse(text)
    const mappings: unknown = Reflect.get(Object(answer), "EventSourceMappings")
    const next: unknown = Reflect.get(Object(answer), "NextMarker")
    return Array.isArray(mappings) ? { mappings, next: typeof next === "string" && next ? next : undefined } : undefined
  } catch {
    return undefined
  }
}

const pages = (
  region: string,
  query: string,
  marker: string | undefined
): Effect.Effect<ReadonlyArray<unknown>, NoAnswer> =>
  Effect.gen(function* () {
    const at = marker === undefined ? query : `${query}&Marker=${encodeURIComponent(marker)}`
    const page = pageIn(yield* get(region, at, yield* Clock.currentTimeMillis))
    if (page === undefined) {
      return yield* new NoAnswer({ message: "what Lambda answered is no list of mappings", final: true })
    }
    return page.next === undefined ? page.mappings : [...page.mappings, ...(yield* pages(region, query, page.next))]
  })

const reportsOf = (mapping: unknown): boolean => {
  const types: unknown = Reflect.get(Object(mapping), "FunctionResponseTypes")
  return Array.isArray(types) && types.includes("ReportBatchItemFailures")
}

const ask = (queueArn: string, functionArn: string) =>
  Effect.gen(function* () {
    // arn:aws:lambda:<region>:<account>:function:<name>
    const region = functionArn.split(":")[3] ?? ""
    const query = `EventSourceArn=${encodeURIComponent(queueArn)}&FunctionName=${encodeURIComponent(functionArn)}`
    const mappings = yield* pages(region, query, undefined)
    if (mappings.length === 0) {
      return yield* new NoAnswer({ message: `Lambda knows of no mapping from it to ${functionArn}`, final: true })
    }
    return mappings.every(reportsOf)
  })

/** As it was said; else it is asked for each queue, and remembered unless the network was in the way. */
export const make = (given: boolean | undefined) => {
  // A function may have several mappings, and each takes notice or does not.
  const known = new Map<string, boolean>()
  const warned = new Set<string>()
  return (queueArn: string, context: LambdaContext | undefined, within: Duration.Duration): Effect.Effect<boolean> =>
    Effect.suspend(() => {
      const answer = given ?? known.get(queueArn)
      if (answer !== undefined) return Effect.succeed(answer)
      const functionArn = context?.invokedFunctionArn
      if (functionArn === undefined) return Effect.succeed(false)
      return ask(queueArn, functionArn).pipe(
        Effect.tap((reports) =>
          Effect.suspend(() => {
            known.set(queueArn, reports)
            return reports
              ? Effect.void
              : Effect.logError(
                  `the event source mapping from ${queueArn} to ${functionArn} has no FunctionResponseTypes: [ReportBatchItemFailures]: every invocation of which a message fails will fail, so that nothing is lost`
                )
          })
        ),
        Effect.timeoutFail({
          duration: within,
          onTimeout: () => new NoAnswer({ message: "Lambda did not answer in time", final: false })
        }),
        Effect.catchAll((problem) =>
          Effect.suspend(() => {
            if (problem.final) known.set(queueArn, false)
            if (warned.has(queueArn)) return Effect.succeed(false)
            warned.add(queueArn)
            return Effect.as(
              Effect.logWarning(
                `it is not known whether the event source mapping from ${queueArn} takes notice of batchItemFailures (${problem.message}): every invocation of which a message fails will fail, so that nothing is lost. Give the mapping FunctionResponseTypes: [ReportBatchItemFailures] and write reportBatchItemFailures: true, or let the function ask (lambda:ListEventSourceMappings)`
              ),
              false
            )
          })
        )
      )
    })
}
