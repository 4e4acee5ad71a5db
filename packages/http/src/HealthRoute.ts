/**
 * The health of consumers over HTTP, for a container's probe: 200 where all are well, 503 where one is not, and in both
 * cases why, as JSON. It asks nobody and costs no call to the queue.
 *
 * A server for nothing else has short times and few connections, so that half-sent requests cannot take the process's file
 * descriptors.
 *
 * @example
 * const patience = { headersTimeout: 5_000, requestTimeout: 10_000, keepAliveTimeout: 5_000, connectionsCheckingInterval: 1_000 }
 * HttpRouter.empty.pipe(
 *   HttpRouter.get("/health", HealthRoute.handler(Effect.all({ orders: Orders }))),
 *   HttpServer.serve(),
 *   Layer.provide(NodeHttpServer.layer(() => Object.assign(createServer(patience), { maxConnections: 64 }), { port: 8080 }))
 * )
 */
import * as HttpRouter from "@effect/platform/HttpRouter"
import * as HttpServerResponse from "@effect/platform/HttpServerResponse"
import * as Health from "@millrace/core/Health"
import * as InvalidOptions from "@millrace/core/InvalidOptions"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"

/** What can be asked for its health: a `Consumer`, or a `Served` one. */
export interface Asked {
  readonly health: (options?: Health.Options) => Effect.Effect<Health.Health>
}

/** A `Health` as JSON: times in milliseconds, and what is not known left out. */
export const toJson = ({ oldestInFlight, stuck, ...health }: Health.Health) => ({
  ...health,
  oldestInFlight: oldestInFlight && Duration.toMillis(oldestInFlight),
  stuck: stuck.map(({ runningFor, ...one }) => ({ ...one, runningFor: Duration.toMillis(runningFor) }))
})

/**
 * Answers with `{ healthy, consumers: { [name]: health } }`, for any router. The consumers are looked up by name at each
 * request, so tags of theirs will do: `Effect.all({ orders: Orders, bills: Bills })`. Takes the options of
 * `consumer.health`, and throws `InvalidOptions` where one cannot work; fails as the looking up does.
 */
export const handler = <E, R>(
  consumers: Effect.Effect<Readonly<Record<string, Asked>>, E, R>,
  options: Health.Options = {}
): Effect.Effect<HttpServerResponse.HttpServerResponse, E, R> => {
  InvalidOptions.checkOrThrow("HealthRoute", options, Health.checks)
  return Effect.gen(function* () {
    const answers: Record<string, ReturnType<typeof toJson>> = {}
    for (const [name, { health }] of Object.entries(yield* consumers)) answers[name] = toJson(yield* health(options))
    const healthy = Object.values(answers).every((answer) => answer.healthy)
    return HttpServerResponse.unsafeJson(
      { healthy, consumers: answers },
      { status: healthy ? 200 : 503, headers: { "cache-control": "no-store" } }
    )
  })
}

/** `handler` as a route of `HttpRouter`, for GET. */
export const route = <E, R>(
  path: HttpRouter.PathInput,
  consumers: Effect.Effect<Readonly<Record<string, Asked>>, E, R>,
  options?: Health.Options
): HttpRouter.Route<E, HttpRouter.HttpRouter.ExcludeProvided<R>> =>
  HttpRouter.makeRoute("GET", path, handler(consumers, options))
