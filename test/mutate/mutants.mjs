/**
 * Breaks a source file in one place at a time, by kind: a condition, a bound, an order, a missing call. All of its mutants
 * are in one text, each where `$m` says that its number is the one that is on.
 */
import ts from "typescript"
import { onlyTells } from "./targets.mjs"

const { SyntaxKind: Kind } = ts

const bounds = new Map([
  [Kind.LessThanToken, "<="],
  [Kind.LessThanEqualsToken, "<"],
  [Kind.GreaterThanToken, ">="],
  [Kind.GreaterThanEqualsToken, ">"],
  [Kind.PlusEqualsToken, "-="],
  [Kind.MinusEqualsToken, "+="],
  [Kind.PlusToken, "-"],
  [Kind.MinusToken, "+"],
  [Kind.EqualsEqualsEqualsToken, "!=="],
  [Kind.ExclamationEqualsEqualsToken, "==="]
])

const isText = (node) =>
  ts.isStringLiteral(node) ||
  ts.isTemplateExpression(node) ||
  ts.isNoSubstitutionTemplateLiteral(node) ||
  (ts.isBinaryExpression(node) && (isText(node.left) || isText(node.right)))

/** What is called or assigned, and not with what. */
const headOf = (node) => {
  if (ts.isExpressionStatement(node) || ts.isParenthesizedExpression(node)) return headOf(node.expression)
  if (ts.isYieldExpression(node) && node.expression !== undefined) return headOf(node.expression)
  if (ts.isCallExpression(node)) return node.expression.getText()
  return ts.isBinaryExpression(node) ? node.left.getText() : node.getText()
}

/** Types, and what is only said. */
const isSkipped = (node) =>
  ts.isTypeNode(node) ||
  ts.isInterfaceDeclaration(node) ||
  ts.isTypeAliasDeclaration(node) ||
  ts.isImportDeclaration(node) ||
  ts.isThrowStatement(node) ||
  ((ts.isExpressionStatement(node) || ts.isCallExpression(node)) && onlyTells.test(headOf(node)))

/** The function or method that it is in, by name. */
const placeOf = (node) => {
  for (let at = node; at !== undefined; at = at.parent) {
    const isNamed = ts.isMethodDeclaration(at) || ts.isAccessor(at) || ts.isFunctionDeclaration(at)
    const holdsOne = ts.isPropertyDeclaration(at) || ts.isPropertyAssignment(at) || ts.isVariableDeclaration(at)
    if (isNamed || (holdsOne && at.initializer !== undefined && !ts.isLiteralExpression(at.initializer))) {
      return at.name.getText()
    }
  }
  return ""
}

/** What stands in an expression's place, by kind. */
const expressionMutants = (node) => {
  const found = []
  const isCondition =
    (ts.isIfStatement(node.parent) && node.parent.expression === node) ||
    (ts.isConditionalExpression(node.parent) && node.parent.condition === node)
  const operator = ts.isBinaryExpression(node) ? node.operatorToken.kind : undefined
  const isNot = ts.isPrefixUnaryExpression(node) && node.operator === Kind.ExclamationToken
  if (operator === Kind.AmpersandAmpersandToken || operator === Kind.BarBarToken) {
    found.push(["condition", node.left.getText()], ["condition", node.right.getText()])
  } else if (bounds.has(operator) && !isText(node.left) && !isText(node.right)) {
    found.push(["bound", `${node.left.getText()} ${bounds.get(operator)} ${node.right.getText()}`])
  } else if (isNot) {
    found.push(["condition", node.operand.getText()])
  } else if (isCondition) {
    found.push(["condition", `!(${node.getText()})`])
  }
  if (ts.isPrefixUnaryExpression(node) || ts.isPostfixUnaryExpression(node)) {
    const swapped = { [Kind.PlusPlusToken]: "--", [Kind.MinusMinusToken]: "++" }[node.operator]
    const operand = node.operand.getText()
    if (swapped !== undefined) {
      found.push(["bound", ts.isPrefixUnaryExpression(node) ? swapped + operand : operand + swapped])
    }
  }
  if (ts.isArrayLiteralExpression(node) && node.elements.length === 2 && node.elements.some(ts.isSpreadElement)) {
    found.push(["order", `[${node.elements[1].getText()}, ${node.elements[0].getText()}]`])
  }
  if (ts.isCallExpression(node)) {
    const called = node.expression.getText()
    const args = node.arguments.map((argument) => argument.getText())
    if (/^Math\.(min|max)$/.test(called)) {
      found.push(["bound", `Math.${called === "Math.min" ? "max" : "min"}(${args.join(", ")})`])
    }
    if (/\.(reverse|sort)$/.test(called)) found.push(["order", node.expression.expression.getText()])
    if (called === "Effect.zipRight" && args.length === 2) found.push(["missing call", args[1]])
    if (called === "Effect.zipLeft" && args.length === 2) found.push(["missing call", args[0]])
  }
  return found
}

/** `text` is the file with all its `mutants` in it, numbered from `first`: `{ id, kind, line, place, before, after }`. */
export const mutantsOf = (fileName, source, first) => {
  const file = ts.createSourceFile(fileName, source, ts.ScriptTarget.Latest, true)
  const mutants = []
  const add = (node, kind, after) => {
    const line = file.getLineAndCharacterOfPosition(node.getStart()).line + 1
    const oneLine = (text) => text.replaceAll(/\s+/g, " ")
    const id = first + mutants.length
    mutants.push({ id, kind, line, place: placeOf(node), before: oneLine(node.getText()), after: oneLine(after) })
    return id
  }
  const childrenOf = (node) => {
    const children = []
    ts.forEachChild(node, (child) => {
      children.push(child)
    })
    return children.sort((a, b) => a.pos - b.pos)
  }
  const within = (node) => {
    let text = ""
    let at = node.getStart()
    for (const child of childrenOf(node)) {
      if (child.getStart() < at) continue
      text += source.slice(at, child.getStart()) + broken(child)
      at = child.end
    }
    return text + source.slice(at, node.end)
  }
  const broken = (node) => {
    if (isSkipped(node)) return node.getText()
    if (ts.isExpressionStatement(node)) {
      const id = add(node, "missing call", "")
      return `{if(!$m(${id})){${within(node)}}}`
    }
    const found = ts.isExpression(node) ? expressionMutants(node) : []
    if (found.length === 0) return within(node)
    const choices = found.map(([kind, after]) => `$m(${add(node, kind, after)})?(${after}):`).join("")
    return `(${choices}(${within(node)}))`
  }
  const text = broken(file)
  return { text: `const $m = globalThis.$m;\n${text}`, mutants }
}
