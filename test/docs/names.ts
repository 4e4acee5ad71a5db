/** What the pages' examples speak of without defining it. Each block that uses one of these names gets it imported. */
import { type LeaseQueue, RetryPolicy, type Served } from "@millrace/core"
import { MemoryQueue } from "@millrace/core/testing"
import { SqsConsumer } from "@millrace/sqs"
import { Context, Data, Effect, Schedule, Schema } from "effect"

export class Order extends Schema.Class<Order>("Order")({
  id: Schema.String,
  customer: Schema.String,
  item: Schema.String,
  quantity: Schema.Number
}) {}

export class Invoice extends Schema.Class<Invoice>("Invoice")({ order: Schema.String, cents: Schema.Number }) {}

export class OutOfStock extends Data.TaggedError("OutOfStock")<{ readonly item: string }> {}
export class HttpError extends Data.TaggedError("HttpError")<{ readonly status: number }> {}

/** A handler. */
export declare const fulfil: (order: Order) => Effect.Effect<void, OutOfStock | HttpError>
export declare const charge: (order: Order) => Effect.Effect<Invoice, HttpError>
export declare const publish: (invoice: Invoice) => Effect.Effect<void, HttpError>
export declare const insertAll: (orders: ReadonlyArray<Order>) => Effect.Effect<void, HttpError>
export declare const archive: (reason: string | undefined, body: string) => Effect.Effect<void>
/** A handler of somebody else's, which gives a promise. */
export declare const handle: (body: string, signal?: AbortSignal) => Promise<void>

export const retry = RetryPolicy.redeliver(Schedule.spaced("5 seconds"), { attempts: 3 }).pipe(
  RetryPolicy.orElse(RetryPolicy.deadLetter)
)
export const orders = SqsConsumer.stream("orders")
export declare const queue: LeaseQueue.LeaseQueue<never>
export class Orders extends Context.Tag("Orders")<Orders, Served.Served>() {}

export const makeMyQueue = Effect.map(MemoryQueue.make(), (memory) => ({
  ...memory,
  sendAll: memory.send,
  deadLetterBodies: Effect.map(memory.deadLetters, (dead) => dead.map(({ message }) => message.body))
}))
