// Package log keeps one partition's records on disk, in Apache Kafka's files, and gives them back.
//
// A log is a sequence of record batches. Each record has an offset; offsets are dense and begin where the log does. The batches stand in
// segments, files of which the last is active: it is appended to until it is full or old, then rolled. Start is the first offset that is
// left, End the one that comes next. Written and Durable say how far the page cache and the disk have come, Visible how far readers may
// see: what the sync mode promises.
//
//	l, report, err := log.Open(log.Config{FS: vfs.OS, Dir: "data/orders-0", Topic: "orders", Clean: clean, CleanEnd: end})
//	...
//	placed, err := l.Append(batch, log.AppendOptions{Durable: true}) // one record batch v2
//	...
//	v, err := l.Read(placed.Base, l.Visible(), 1<<20) // borrowed, no copy
//	if corrupt, ok := errors.AsType[*log.CorruptionError](err); ok {
//		next = corrupt.NextOffset // what is lost is named, the rest is served
//	}
//	use(v.Bytes)
//	v.Release()
//
// # What it promises
//
// An append that has returned with Durable survives what its sync mode names (SyncAlways: loss of power). After a crash the log is
// a prefix of what was appended, with everything that was acknowledged as durable, once and in order. A failed write changes nothing; a
// failed sync ends the log (ErrPoisoned) until it is opened again. Bytes that are bad cost the records they hold, never others, and are
// never served: every batch is checked when it is first read after an open, and copies each time. Nothing is deleted but by
// retention, DeleteRecords, TruncateTo and ResetTo; what recovery cuts off it keeps beside the log.
//
// # Transactions
//
// A batch may belong to a transaction of its producer (KIP-98): it is written at once, and decided by a marker that the transaction
// coordinator appends later. The first batch of a transaction needs a TxnGuard, so that none comes in behind its marker (KIP-890).
// LastStable is where the oldest undecided transaction begins: readers of committed records stop there and, with ReadCommitted, are told
// which transactions before it were aborted. What is open, what was aborted and where the last stable offset is follows from the batches;
// snapshots and .txnindex files only save reading them again.
//
// # Compaction
//
// Clean writes the finished segments anew, without the records that have a newer one of their key, those of aborted transactions, and
// tombstones and markers whose time has come (KIP-58, KIP-534); offsets stay. Dirty says whether that is worth it. BeginClean and
// Step do the same in pieces. Reads, appends, retention go on meanwhile, and views stay as they are.
//
// # Replication
//
// A log may be one of several copies (Config.Replicated). Its owner says whether it leads (Lead, Follow) and what the high watermark is
// (SetHighWatermark), which is Visible then. Replicas read up to Written (ReadReplica), and append whole answers of their leader as they are (AppendReplica). What
// another leader's history does not have is cut off (TruncateTo, ResetTo); reads and views go on beside that. The epoch cache tells where
// histories part (EpochEnd).
//
// # What it leaves to its owner
//
// It starts no goroutine and keeps no catalogue. Its owner calls Sync as often as SyncInterval says, Seal until there is nothing left to do,
// and Retain now and then; it persists RecoveryPoint, Start, Cleaned and whether Close returned nil, and gives them back in Config: they may lag,
// but must never be ahead. One process at a time may open a directory for writing; any number may read beside it (Config.ReadOnly).
//
// # Reading the source
//
// The way in: append.go (checks, place in the log), writer.go (one writer for all that is queued), repair.go (failed writes), sync.go, roll.go.
// The way out: read.go, check.go (what may be believed), examine.go (what may not), mapped.go, lease.go. Across time: open.go,
// load.go (after a clean close), recovery.go and torn.go (after any other end), seal.go, close.go, retention.go. Producers (KIP-98):
// producerstate.go. Transactions: txnstate.go (the state machine), txn.go (guards, the last stable offset), txnindex.go and abortedload.go
// (what was aborted). Compaction: clean.go (when), cleaning.go, cleanphase.go and cleanbatch.go (how), cleanswap.go and cleanrecovery.go
// (the exchange). Keys: keyindex.go, keyread.go. Replication: replicated.go (roles, high watermark), appendreplica.go, truncate.go, reset.go. Checking: verify.go, imprint.go.
package log
