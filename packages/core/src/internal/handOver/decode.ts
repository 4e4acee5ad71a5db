/**
 * What is wrong with a body, and where, by the names of its Schema: never a value, and neither a Record's key nor an excess
 * property, which are the sender's too.
 */
import type * as ParseResult from "effect/ParseResult"
import type * as SchemaAST from "effect/SchemaAST"
import { attempt } from "../userCode/attempt.js"

/** A failure of its own, in the place of a `DecodeError`: the body is sound, as far as anybody knows. */
export class Refusal<out F> {
  readonly failure: F

  constructor(failure: F) {
    this.failure = failure
  }
}

/** What is wrong with a body: as the Schema says it, or in words that may be logged. */
export type Problem = ParseResult.ParseIssue | string

/** The longest that a path is, and what was expected there. */
const longestPath = 100
const longestWhat = 200

const cut = (text: string, longest: number): string => (text.length <= longest ? text : `${text.slice(0, longest)}…`)

/** Names the places that are wrong, the first five, and what was expected there. */
export const describe = (issue: ParseResult.ParseIssue): string => {
  const places = new Places()
  attempt(() => places.walk(issue, "", undefined), undefined)
  return places.text
}

/** More would be of no use to who reads it, and a body of millions of wrong elements has as many. */
const mostPlaces = 5

/** Parts of the path that are no names of the Schema's: a Record's keys and excess properties are the sender's. */
const anyKey = "[key]"

class Places {
  readonly #shown: Array<string> = []
  #count = 0

  get text(): string {
    if (this.#count === 0) return "it does not match its Schema"
    const more = this.#count - this.#shown.length
    return [...this.#shown, ...(more > 0 ? [`and ${more} more`] : [])].join("; ")
  }

  #add(path: string, what: () => string): void {
    this.#count++
    if (this.#shown.length >= mostPlaces) return
    const place = path === "" ? "the body" : path.length <= longestPath ? path : `…${path.slice(-longestPath)}`
    this.#shown.push(`${place}: ${cut(attempt(what, "does not match"), longestWhat)}`)
  }

  /** `ast`: of what the path's next part is a part. */
  walk(issue: ParseResult.ParseIssue, path: string, ast: SchemaAST.AST | undefined): void {
    switch (issue._tag) {
      case "Pointer": {
        const [first, ...rest] = isKeys(issue.path) ? issue.path : [issue.path]
        const begun = first === undefined ? path : join(path, first, ast)
        const whole = rest.reduce<string>((prefix, key) => join(prefix, key, undefined), begun)
        this.walk(issue.issue, whole, undefined)
        break
      }
      case "Composite":
        for (const inner of isIssues(issue.issues) ? issue.issues : [issue.issues]) this.walk(inner, path, issue.ast)
        break
      case "Refinement":
      case "Transformation":
        if (issue.kind === "Predicate" || issue.kind === "Transformation") {
          this.#add(path, () => `expected ${issue.ast.toString()}`)
        } else {
          this.walk(issue.issue, path, undefined)
        }
        break
      case "Missing":
        this.#add(path, () => "is missing")
        break
      case "Unexpected":
        this.#add(path, () => "is unexpected")
        break
      default:
        this.#add(path, () => `expected ${issue.ast.toString()}`)
    }
  }
}

const isKeys = (path: ParseResult.Path): path is readonly [PropertyKey, ...Array<PropertyKey>] => Array.isArray(path)

const isIssues = (
  issues: ParseResult.SingleOrNonEmpty<ParseResult.ParseIssue>
): issues is readonly [ParseResult.ParseIssue, ...Array<ParseResult.ParseIssue>] => Array.isArray(issues)

const join = (prefix: string, key: PropertyKey, ast: SchemaAST.AST | undefined): string => {
  if (typeof key === "number" && ast?._tag === "TupleType") return `${prefix}[${key}]`
  if (ast === undefined || !names(ast, key)) return `${prefix}${anyKey}`
  return prefix === "" ? String(key) : `${prefix}.${String(key)}`
}

/** Whether a Schema has a property of this name: the issue of a union is about its members. */
const names = (ast: SchemaAST.AST, key: PropertyKey): boolean =>
  ast._tag === "TypeLiteral"
    ? ast.propertySignatures.some(({ name }) => name === key)
    : ast._tag === "Union" && ast.types.some((member) => names(memberOf(member), key))

const memberOf = (ast: SchemaAST.AST): SchemaAST.AST =>
  ast._tag === "Transformation" || ast._tag === "Refinement" ? memberOf(ast.from) : ast
