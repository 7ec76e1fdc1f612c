/** A snapshot of the target's system catalog, read over a control connection: what names mean. Immutable. */

export interface CatalogColumn {
  readonly name: string;
  /** pg_attribute.attnum, from 1 (system columns are not listed). */
  readonly attnum: number;
  readonly typeOid: number;
  /** Of a generated column: numbers of those that it is computed from. */
  readonly generatedFrom?: readonly number[];
}

export interface CatalogRelation {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** pg_class.relkind: r table, p partitioned, v view, m materialised view, f foreign, S sequence, i index, c composite. */
  readonly kind: string;
  readonly columns: readonly CatalogColumn[];
  /** OIDs of inheritance parents, partitions included. */
  readonly parents: readonly number[];
  /** pg_get_viewdef for kinds v and m; undefined when it could not be read (then everything in it counts as touched). */
  readonly definition?: string;
  /** OIDs of relations that the view's rule depends on. */
  readonly dependsOn?: readonly number[];
  /** OIDs of relations that rules on INSERT, UPDATE or DELETE of this one name. */
  readonly rulesName?: readonly number[];
}

/**
 * What a function is as an item of FROM. `scalar`: one column, named after the alias or the function. `columns`: its OUT or TABLE
 * parameters. `row`: the row type of that relation. `open`: only the call tells (record, polymorphic).
 */
export type FunctionResult =
  | { readonly type: 'scalar' }
  | { readonly type: 'columns'; readonly names: readonly string[] }
  | { readonly type: 'row'; readonly relation: number }
  | { readonly type: 'open' };

export interface CatalogFunction {
  readonly oid: number;
  readonly schema: string;
  readonly name: string;
  /** pg_language.lanname. */
  readonly language: string;
  readonly volatility: 'i' | 's' | 'v';
  readonly securityDefiner: boolean;
  readonly kind: 'f' | 'p' | 'a' | 'w';
  /** Absent: as `open`. */
  readonly result?: FunctionResult;
  /** OIDs of relations whose rows the result can hold: as such, in an array or domain, or as an OUT parameter. */
  readonly rowsOf?: readonly number[];
}

export interface Catalog {
  /** Grows by one with each changed snapshot of this connection. Part of every cache key. */
  readonly generation: number;
  /** server_version_num, such as 150018. */
  readonly serverVersion: number;
  /** `SHOW search_path` of a fresh session of the credential's role, as text. */
  readonly defaultSearchPath: string;
  /** current_user of the control connection. */
  readonly role: string;
  /** Some function of users may set search_path or the role: any statement that runs code of the catalog may call it. */
  readonly movesNames: boolean;
  hasSchema(name: string): boolean;
  /** Whether it exists and `role` has USAGE on it: without, the server leaves it out of a search_path. */
  canUseSchema(name: string): boolean;
  relation(schema: string, name: string): CatalogRelation | undefined;
  relationByOid(oid: number): CatalogRelation | undefined;
  relations(): Iterable<CatalogRelation>;
  /** All overloads. */
  functions(schema: string, name: string): readonly CatalogFunction[];
  allFunctions(): Iterable<CatalogFunction>;
  functionByOid(oid: number): CatalogFunction | undefined;
  /** Functions outside pg_catalog under an operator of this name, if any. */
  userOperatorFunctions(operator: string): readonly CatalogFunction[];
}
