import * as Cause from "effect/Cause"
import * as Runtime from "effect/Runtime"

/** What `Effect.runPromise` and its like throw. */
export const isFiberFailure = (thrown: unknown): thrown is Runtime.FiberFailure => Runtime.isFiberFailure(thrown)

/** Its failure, or its defect. */
export const failureIn = (thrown: Runtime.FiberFailure): unknown => Cause.squash(thrown[Runtime.FiberFailureCauseId])
