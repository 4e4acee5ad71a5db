/**
 * Where a suspended fiber stands in the user's own code: the lines of its generators and continuations, innermost
 * first. Effect keeps no trace of them, so this reads the fiber's stack of continuations and asks the JavaScript engine
 * where their functions were written. Only for error messages; whatever is not to be had is left out.
 */
import type * as Fiber from "effect/Fiber"

interface Script {
  readonly url: string
  readonly sourceMapURL?: string
}

interface Location {
  readonly scriptId: string
  readonly lineNumber: number
  readonly columnNumber: number
}

type Engine = (value: unknown) => { readonly script: Script; readonly location: Location } | undefined

type Resolve = (fiber: Fiber.RuntimeFiber<unknown, unknown>) => ReadonlyArray<string>

const nowhere: ReadonlyArray<string> = []

const inLibrary = /\/node_modules\/(effect|@effect)\//

/** Calls `use` with a function that tells the places of fibers; asking is slow (some 100 ms in all). */
export const withPlaces = <A>(use: (placesOf: Resolve) => A): A =>
  withEngine((engine) =>
    use((fiber) => {
      const stack: unknown = Reflect.get(fiber, "_stack")
      if (engine === undefined || !Array.isArray(stack)) return nowhere
      const places = new Set<string>()
      for (let i = stack.length - 1; i >= 0 && places.size < 3; i--) {
        for (const part of partsOf(stack[i])) {
          const found = engine(part)
          if (found !== undefined && !inLibrary.test(found.script.url)) places.add(render(found.script, found.location))
        }
      }
      return [...places]
    })
  )

/** What of a continuation was written by somebody: its generator or its functions. */
const partsOf = (frame: unknown): ReadonlyArray<unknown> =>
  typeof frame === "object" && frame !== null
    ? ["effect_instruction_i0", "effect_instruction_i1", "effect_instruction_i2"]
        .map((key): unknown => Reflect.get(frame, key))
        .filter((part) => typeof part === "function" || Object.prototype.toString.call(part) === "[object Generator]")
    : []

const withEngine = <A>(use: (engine: Engine | undefined) => A): A => {
  const inspector = globalThis.process?.getBuiltinModule?.("node:inspector")
  if (inspector === undefined) return use(undefined)
  const session = new inspector.Session()
  try {
    session.connect()
  } catch {
    return use(undefined)
  }
  try {
    const scripts = new Map<string, Script>()
    session.on("Debugger.scriptParsed", ({ params }) => {
      scripts.set(params.scriptId, { url: params.url, sourceMapURL: params.sourceMapURL ?? "" })
    })
    session.post("Debugger.enable")
    return use((value) => {
      const location = locationOf(session, value)
      const script = location && scripts.get(location.scriptId)
      return location && script && { script, location }
    })
  } finally {
    session.disconnect()
  }
}

const handover = Symbol.for("@millrace/core/Simulation/Place")

const locationOf = (
  session: InstanceType<typeof import("node:inspector")["Session"]>,
  value: unknown
): Location | undefined => {
  let location: Location | undefined
  Reflect.set(globalThis, handover, value)
  session.post(
    "Runtime.evaluate",
    { expression: `globalThis[Symbol.for(${JSON.stringify(handover.description)})]` },
    (error, evaluated) => {
      const objectId = error ? undefined : evaluated.result.objectId
      if (objectId === undefined) return
      session.post("Runtime.getProperties", { objectId, ownProperties: true }, (error, properties) => {
        if (error) return
        for (const { name, value } of properties.internalProperties ?? []) {
          if (name === "[[GeneratorLocation]]" || name === "[[FunctionLocation]]") location = value?.value
        }
      })
    }
  )
  Reflect.deleteProperty(globalThis, handover)
  return location
}

const inline = /^data:application\/json[^,]*;base64,/

/** As in a stack trace, through the script's inline source map where it has one. */
const render = ({ sourceMapURL = "", url }: Script, { columnNumber, lineNumber }: Location): string => {
  const file = url.replace(/^file:\/\//, "")
  const SourceMap = globalThis.process?.getBuiltinModule?.("node:module")?.SourceMap
  if (SourceMap !== undefined && inline.test(sourceMapURL)) {
    try {
      const payload = JSON.parse(Buffer.from(sourceMapURL.replace(inline, ""), "base64").toString())
      const entry = new SourceMap(payload).findEntry(lineNumber, columnNumber)
      if ("originalLine" in entry) return `${file}:${entry.originalLine + 1}:${entry.originalColumn + 1}`
    } catch {
      // The place in the compiled script is better than none.
    }
  }
  return `${file}:${lineNumber + 1}:${columnNumber + 1}`
}
