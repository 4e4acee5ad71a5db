/**
 * Move tasks: SQS's own way to empty a dead-letter queue. Told the time, like `Queue`; whoever holds a task sees to it
 * that it is told again at its next instant.
 *
 * @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_StartMessageMoveTask.html
 */
import type { MoveTask } from "../../SqsClient.js"
import type { Queue } from "./Queue.js"
import { invalid, invalidValue, missing, Refusal } from "./Refusal.js"

/** The highest rate that can be asked for, and the one of a task that asks for none. */
const highestRate = 500
/** A task moves in steps, so that a fast one does not wake for each message. */
const shortestStep = 100
const remembered = 10

/** What a task needs to know of the queues around it. */
export interface Queues {
  readonly byArn: (arn: string) => Queue | undefined
  readonly isDeadLetterQueue: (queue: Queue) => boolean
  readonly newId: () => string
}

export interface StartRequest {
  readonly SourceArn: string
  readonly DestinationArn?: string | undefined
  readonly MaxNumberOfMessagesPerSecond?: number | undefined
}

type Status = "RUNNING" | "COMPLETED" | "CANCELLED" | "FAILED"

export class Task {
  readonly id: string
  readonly source: Queue
  status: Status = "RUNNING"
  moved = 0
  private readonly request: StartRequest
  private readonly queues: Queues
  private readonly startedAt: number
  private readonly toMove: number
  private readonly rate: number
  private readonly step: number
  private failure: string | undefined = undefined

  constructor(request: StartRequest, source: Queue, queues: Queues, now: number) {
    this.id = queues.newId()
    this.source = source
    this.request = request
    this.queues = queues
    this.startedAt = now
    this.toMove = source.visible
    this.rate = request.MaxNumberOfMessagesPerSecond ?? highestRate
    this.step = Math.max(shortestStep, Math.ceil(1_000 / this.rate))
  }

  get handle(): string {
    return Buffer.from(JSON.stringify({ taskId: this.id, sourceArn: this.source.arn })).toString("base64")
  }

  /** How many messages may have been moved by now: the first at once. */
  private allowance(now: number): number {
    const steps = Math.floor((now - this.startedAt) / this.step) + 1
    return Math.max(1, Math.floor((steps * this.step * this.rate) / 1_000))
  }

  /** Moves what is due by now. Returns the queues that have received something. */
  advance(now: number): ReadonlySet<Queue> {
    const touched = new Set<Queue>()
    if (this.status !== "RUNNING") return touched
    if (this.source.deleted) this.fail("AWS.SimpleQueueService.NonExistentQueue")
    else this.source.advance(now)
    while (this.status === "RUNNING" && this.moved < this.allowance(now)) {
      const message = this.moved < this.toMove ? this.source.first() : undefined
      if (message === undefined) {
        this.status = "COMPLETED"
        break
      }
      const arn = this.request.DestinationArn ?? message.deadLetterSource
      const destination = arn === undefined ? undefined : this.queues.byArn(arn)
      if (destination === undefined) {
        this.fail(arn === undefined ? "CouldNotDetermineMessageSource" : "AWS.SimpleQueueService.NonExistentQueue")
        break
      }
      if (!touched.has(destination)) destination.advance(now)
      this.source.moveTo(destination, message, now)
      touched.add(destination)
      this.moved++
    }
    if (this.status === "RUNNING" && (this.moved >= this.toMove || this.source.first() === undefined)) {
      this.status = "COMPLETED"
    }
    return touched
  }

  private fail(reason: string): void {
    this.status = "FAILED"
    this.failure = reason
  }

  /** When the task may go on. */
  nextInstant(now: number): number {
    return this.startedAt + (Math.floor((now - this.startedAt) / this.step) + 1) * this.step
  }

  cancel(): void {
    this.status = "CANCELLED"
  }

  describe(): MoveTask {
    const { DestinationArn, MaxNumberOfMessagesPerSecond } = this.request
    return {
      ...(this.status === "RUNNING" && { TaskHandle: this.handle }),
      Status: this.status,
      SourceArn: this.source.arn,
      ...(DestinationArn !== undefined && { DestinationArn }),
      ...(MaxNumberOfMessagesPerSecond !== undefined && { MaxNumberOfMessagesPerSecond }),
      ApproximateNumberOfMessagesMoved: this.moved,
      ApproximateNumberOfMessagesToMove: this.toMove,
      ...(this.failure !== undefined && { FailureReason: this.failure }),
      StartedTimestamp: this.startedAt
    }
  }
}

const notThere = (parameter: "SourceArn" | "DestinationArn"): Refusal =>
  new Refusal("ResourceNotFound", `The resource that you specified for the ${parameter} parameter doesn't exist.`)

const fieldsOf = (handle: string): { readonly taskId: string; readonly sourceArn: string } => {
  try {
    const decoded: unknown = JSON.parse(Buffer.from(handle, "base64").toString())
    if (typeof decoded === "object" && decoded !== null && "taskId" in decoded && "sourceArn" in decoded) {
      const { taskId, sourceArn } = decoded
      if (typeof taskId === "string" && typeof sourceArn === "string") return { taskId, sourceArn }
    }
  } catch {
    // It is no handle, as below.
  }
  throw invalid("Value for parameter TaskHandle is invalid.")
}

export class MoveTasks {
  private readonly queues: Queues
  /** Newest first. */
  private readonly tasks = new WeakMap<Queue, ReadonlyArray<Task>>()

  constructor(queues: Queues) {
    this.queues = queues
  }

  private source(arn: string | undefined): Queue {
    if (arn === undefined || arn === "") throw missing("SourceArn")
    const queue = this.queues.byArn(arn)
    if (queue === undefined) throw notThere("SourceArn")
    return queue
  }

  start(request: StartRequest, now: number): Task {
    const source = this.source(request.SourceArn)
    const rate = request.MaxNumberOfMessagesPerSecond
    if (rate !== undefined && !(Number.isInteger(rate) && rate >= 1 && rate <= highestRate)) {
      throw invalidValue("MaxNumberOfMessagesPerSecond", rate, `Must be between 1 and ${highestRate}, if provided.`)
    }
    if (!this.queues.isDeadLetterQueue(source)) {
      throw invalid("Source queue must be configured as a Dead Letter Queue.")
    }
    if (request.DestinationArn !== undefined) {
      const destination = this.queues.byArn(request.DestinationArn)
      if (destination === undefined) throw notThere("DestinationArn")
      if (destination === source) throw invalid("The source queue cannot be the destination as well.")
      if (destination.fifo !== source.fifo) {
        throw invalid("The source and the destination queue must both be FIFO queues, or both standard queues.")
      }
    }
    const tasks = this.tasks.get(source) ?? []
    if (tasks[0]?.status === "RUNNING") {
      throw invalid(
        "There is already a task running. Only one active task is allowed for a source queue arn at a given time."
      )
    }
    source.advance(now)
    const task = new Task(request, source, this.queues, now)
    this.tasks.set(source, [task, ...tasks].slice(0, remembered))
    return task
  }

  /** How many messages the task has moved. They stay where they are. */
  cancel(handle: string | undefined): number {
    if (handle === undefined || handle === "") throw missing("TaskHandle")
    const { taskId, sourceArn } = fieldsOf(handle)
    const task = this.tasks.get(this.source(sourceArn))?.find(({ id }) => id === taskId)
    if (task?.status !== "RUNNING") throw new Refusal("ResourceNotFound", "Task does not exist.")
    task.cancel()
    return task.moved
  }

  list(request: { readonly SourceArn: string; readonly MaxResults?: number | undefined }): ReadonlyArray<MoveTask> {
    const most = request.MaxResults ?? 1
    if (!(Number.isInteger(most) && most >= 1 && most <= remembered)) {
      throw invalidValue("MaxResults", most, `Must be between 1 and ${remembered}, if provided.`)
    }
    return (this.tasks.get(this.source(request.SourceArn)) ?? []).slice(0, most).map((task) => task.describe())
  }
}
