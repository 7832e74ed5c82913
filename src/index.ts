/** tierlog: a streaming-log segment storage engine with object-store tiering. See README.md. */
export type { AckLevel, AppendReceipt, Epoch, Offset, ShardId, TopicId, Watermarks } from "./domain.ts";
export * from "./errors.ts";
export type { Clock, ScheduledTask } from "./runtime/clock.ts";
export type { FileSystem } from "./runtime/file-system.ts";
export type { Logger } from "./runtime/logger.ts";
export type { Random } from "./runtime/random.ts";
export type { Runtime } from "./runtime/runtime.ts";
export type { Config } from "./config/config.ts";
export { loadConfig, type LoadOptions } from "./config/load-config.ts";
export type { ConfigOverrides } from "./config/override-settings.ts";
export { defaultConfig, type ResolvedConfig } from "./config/resolve-config.ts";
export { Secret } from "./config/secret.ts";
export type { Compression } from "./record/compression.ts";
export type { LogRecord, RecordHeader, StoredRecord, TimestampedOffset } from "./record/record.ts";
export type {
  ByteRange,
  CallOptions,
  GetOptions,
  ListOptions,
  ObjectInfo,
  ObjectStore,
  PutCondition,
  PutOptions,
  PutOutcome,
  StoredObject,
} from "./object-store/object-store.ts";
export type { OperationMetrics, StoreMetrics } from "./object-store/metered.ts";
export type {
  AlterTopicOptions,
  AppendOptions,
  CreateTopicOptions,
  EncodedAppend,
  EngineApi,
  EngineJournalMetrics,
  MergeMetrics,
  EngineMetrics,
  PartitionApi,
  PartitionInspection,
  ReadOptions,
  ReadResult,
  RecordsOptions,
  RetentionLimit,
  TopicAck,
  TopicApi,
  TopicDescription,
  TrimOptions,
} from "./engine/api.ts";
export type {
  CollectedGarbage,
  CollectGarbageOptions,
  FindGarbageOptions,
  FoundGarbage,
  GarbageProgress,
  GarbageSummary,
  ShardOwner,
} from "./engine/garbage-reports.ts";
export type { GarbageCounts } from "./merge/garbage-deleter.ts";
export type { GarbageReason } from "./merge/garbage.ts";
export type { GarbageMetrics } from "./merge/sweeper.ts";
export type { CloseReport, RecoveryProgress, RecoveryReport } from "./engine/reports.ts";
export type { AsideReport, JournalMetrics, PartitionRange, TornTail } from "./journal/reports.ts";
export { diagnoseStore, type DiagnoseOptions, type StoreCheck, type StoreDiagnosis } from "./engine/diagnose-store.ts";
export { Engine, type OpenOptions } from "./engine/engine.ts";
export {
  createStore,
  deleteStore,
  describeStore,
  listStores,
  type DeletedStore,
  type ListStoresOptions,
  type ShardSummary,
  type StoreDescription,
  type StoreListing,
  type StoresOptions,
  type StoreSummary,
} from "./engine/stores.ts";
export {
  verifyStore,
  type ConcernedOffsets,
  type Finding,
  type FindingCode,
  type Severity,
  type StoreVerification,
  type UnreferencedObjects,
  type VerifiedTotals,
  type VerifyOptions,
  type VerifyProgress,
  type WorkerPool,
} from "./engine/verify-store.ts";
export { startVerifyWorkers, type VerifyWorkers } from "./engine/verify-workers.ts";
export { createFsStore } from "./object-store/fs-store.ts";
export { createMemoryStore } from "./object-store/memory-store.ts";
export { systemRuntime } from "./runtime/runtime.ts";
