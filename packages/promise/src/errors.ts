/**
 * What can go wrong, as plain errors: each extends `Error`, has its class's name as `name`, and a `code` to tell it by.
 */

/** All errors of this package. */
export class MillraceError extends Error {
  /** What happened, in one word: AWS's own name for it where AWS said so, such as `QueueDoesNotExist`. */
  readonly code: string

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
  }
}

/** An option cannot work. The message says what to write instead. */
export class InvalidOptionsError extends MillraceError {
  readonly option: string

  constructor(option: string, message: string) {
    super("InvalidOptions", message)
    this.option = option
  }
}

/** A call to SQS failed. `code` is AWS's name; `cause` is the SDK's error, where there is one. */
export class SqsCallError extends MillraceError {
  readonly operation: string

  constructor(code: string, operation: string, message: string, cause: unknown) {
    super(code, message, { cause })
    this.operation = operation
  }
}

/** A handler took longer than `timeout`. */
export class HandlerTimeoutError extends MillraceError {
  constructor(message: string) {
    super("HandlerTimeout", message)
  }
}

/** The body is not JSON, or not what the schema wants. Names places, never values. */
export class InvalidBodyError extends MillraceError {
  constructor(message: string) {
    super("InvalidBody", message)
  }
}

/** The message's lease was over: it may be delivered again, and be worked on by others. */
export class LeaseLostError extends MillraceError {
  constructor(message: string) {
    super("LeaseLost", message)
  }
}

/** The consumer, or the loop, stopped before the handler had ended; its message is given back. */
export class StoppedError extends MillraceError {
  constructor(message: string) {
    super("Stopped", message)
  }
}

/** A message could not be sent. `input` is the body, as it was given. */
export class SendError extends MillraceError {
  readonly input: unknown

  constructor(code: string, message: string, input: unknown, cause: unknown) {
    super(code, message, { cause })
    this.input = input
  }
}
