/** Which handler, policy and share a message of a channel has, by its name. */
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Predicate from "effect/Predicate"
import * as Channel from "../../Channel.js"
import { type Delivery, type HandlerTimeout, withBody } from "../../Delivery.js"
import * as InvalidOptions from "../../InvalidOptions.js"
import type * as Message from "../../Message.js"
import * as RetryPolicy from "../../RetryPolicy.js"
import * as Share from "../../Share.js"
import { effectOf, policyOf } from "../userCode/answer.js"
import { type Around, within } from "./around.js"
import { limited } from "./handler.js"
import { isKey } from "./keys.js"

type Value = Message.Value<string, unknown>
type AnyDelivery = Delivery<unknown, unknown>
type Policy = RetryPolicy.PolicyInput<unknown, AnyDelivery>
type Handler = (body: unknown, delivery: AnyDelivery) => Effect.Effect<unknown, unknown, unknown>

/** As `Pipeline.RouteHandler` has it. */
interface Route {
  readonly handler: Handler
  readonly concurrency?: number | undefined
  readonly retry?: Policy | undefined
  readonly timeout?: Duration.DurationInput | undefined
  readonly share?:
    | (Omit<Share.Options<unknown>, "key"> & { readonly key: (body: unknown) => string | undefined })
    | undefined
}

// How many of a key may wait is not for a route to say.
const { waiting: _, ...ofEach } = Share.checks

const routeChecks: InvalidOptions.Checks<Route> = {
  handler: InvalidOptions.required(InvalidOptions.func),
  concurrency: InvalidOptions.aWholeNumber({ min: 1 }),
  retry: RetryPolicy.check,
  timeout: InvalidOptions.time({ min: "1 millis" }),
  share: InvalidOptions.fields<Omit<NonNullable<Route["share"]>, "waiting">>({
    ...ofEach,
    key: InvalidOptions.required(InvalidOptions.func)
  })
}

const nobody = Symbol("not routed")

/** `wrap` is what runs around each of the handlers. */
export const routing = (channel: Channel.Channel<Message.Any>, handlers: unknown, wrap: Around | undefined) =>
  Effect.gen(function* () {
    yield* InvalidOptions.argument("channel", channel, Channel.check)
    const given = Predicate.isRecord(handlers) ? handlers : {}
    const refuse = (option: string, message: string) => new InvalidOptions.InvalidOptions({ option, message })
    const names = channel.messages.map(({ name }) => name)
    for (const name of Object.keys(given)) {
      if (!names.includes(name)) {
        return yield* refuse(name, `${name} is no message of ${channel.name}; there are ${names.join(", ")}`)
      }
    }
    const routes = new Map<string, Route>()
    for (const name of names) {
      const one = given[name]
      if (one === undefined) return yield* refuse(name, `${name} of ${channel.name} has no handler; write one`)
      // Checked below, as what plain JavaScript has given.
      const route = (typeof one === "function" ? { handler: one } : one) as Route
      yield* InvalidOptions.check(`the route ${name}`, route, routeChecks, `${name}.`)
      if (route.concurrency !== undefined && route.share !== undefined) {
        const message = `${name}.concurrency is for all of ${name} together, and ${name}.share is for each key; leave one out`
        return yield* refuse(`${name}.concurrency`, message)
      }
      routes.set(name, route)
    }
    return new Routing(routes, wrap)
  })

class Routing {
  readonly #routes: ReadonlyMap<string, Route>

  readonly #wrap: Around | undefined

  constructor(routes: ReadonlyMap<string, Route>, wrap: Around | undefined) {
    this.#routes = routes
    this.#wrap = wrap
  }

  readonly handler = (
    { _tag, body }: Value,
    delivery: AnyDelivery
  ): Effect.Effect<unknown, unknown | HandlerTimeout, unknown> => {
    const route = this.#routes.get(_tag)
    if (route === undefined) return Effect.die(new Error(`${_tag} has no handler`))
    const own = withBody(delivery, Exit.succeed(body))
    const handler = within(this.#wrap, "Pipeline.route", route.handler, () => [own])
    const effect = Effect.suspend(() => effectOf(handler(body, own), "Pipeline.route"))
    return limited(effect, route.timeout, delivery)
  }

  /** Of a message that its own handler has failed on, the handler's; of the others, the route's. */
  readonly retry = (standard: unknown): Policy => {
    const otherwise = (standard ?? RetryPolicy.standard) as Policy
    if ([...this.#routes.values()].every(({ retry }) => retry === undefined)) return otherwise
    return (failure, delivery) => {
      const body = Exit.isSuccess(delivery.body) ? delivery.body.value : nobody
      if (!isValue(body)) return policyOf(otherwise, failure, delivery)
      const own = this.#routes.get(body._tag)?.retry
      return own === undefined
        ? policyOf(otherwise, failure, delivery)
        : policyOf(own, failure, withBody(delivery, Exit.succeed(body.body)))
    }
  }

  /** Types share slots by turns, where any of them has a bound: who is over it waits without a slot. */
  get share(): Share.Options<Value> | undefined {
    const bounded = [...this.#routes.values()].some(({ concurrency, share }) => concurrency ?? share)
    if (!bounded) return undefined
    const of = (key: string) => {
      const at = key.indexOf(" ")
      const route = this.#routes.get(at < 0 ? key : key.slice(0, at))
      return { route, name: at < 0 ? key : key.slice(at + 1) }
    }
    const answer = <A>(term: A | ((key: string) => A) | undefined, name: string): A | undefined =>
      term instanceof Function ? term(name) : term
    return {
      key: ({ _tag, body }) => {
        const share = this.#routes.get(_tag)?.share
        if (share === undefined) return _tag
        const key = share.key(body)
        // Anything else is as it is for `keyed`, which says what is wrong with it.
        return isKey(key) ? `${_tag} ${key}` : key
      },
      concurrency: (key) => {
        const { name, route } = of(key)
        return route?.concurrency ?? answer(route?.share?.concurrency, name) ?? Number.MAX_SAFE_INTEGER
      },
      weight: (key) => {
        const { name, route } = of(key)
        return route?.share?.weight?.(name) ?? 1
      },
      rate: (key) => {
        const { name, route } = of(key)
        return answer(route?.share?.rate, name)
      }
    }
  }
}

const isValue = (body: unknown): body is Value =>
  Predicate.hasProperty(body, "_tag") && Predicate.hasProperty(body, "body")
