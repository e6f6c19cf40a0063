/** The schema of an app that adds a field of its own to every table. */
import { defineSchema, defineTable, type TableDefinition } from "convex/server";
import { v, type VObject } from "convex/values";
import schema from "../../convex/schema";

function withOwnField(table: TableDefinition): TableDefinition {
  const validator = table.validator as VObject<object, Record<string, never>>;
  const extended = defineTable(validator.extend({ own: v.optional(v.any()) }));
  for (const { indexDescriptor, fields } of table[" indexes"]()) {
    extended.index(indexDescriptor, fields as never);
  }
  return extended;
}

export const ownFieldsSchema = defineSchema(
  Object.fromEntries(
    Object.entries(schema.tables).map(([name, table]) => [name, withOwnField(table)]),
  ),
);
