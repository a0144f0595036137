// Package partition is the front door of partlog: a store of topics on a directory, with Apache Kafka's files and
// Apache Kafka's words.
//
// A Store holds topics. A topic has partitions, numbered from 0, and each partition is a log of records, numbered by
// offsets from 0. Records come and go in batches (record batch v2, as on Kafka's wire and disk); producer and consumer
// build and read them. Whoever wants bytes rather than records works with this package alone:
//
//	store, err := partition.Open("data", partition.Config{}) // zero Config: safe defaults
//	if err != nil { return err }
//	defer store.Close()
//	orders, err := store.CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 8})
//	if err != nil { return err }
//	p, err := orders.Partition(3)
//	if err != nil { return err }
//	r, err := p.Append(ctx, batch, partition.AcksAll) // r.BaseOffset: where it is, once it is durable
//	...
//	var res partition.FetchResult
//	err = p.Fetch(r.BaseOffset, 1<<20, &res) // whole batches, borrowed
//	...
//	res.Lease.Release()
//
// # Guarantees
//
// An append that returned nil with AcksAll has survived what the topic's sync mode says: SyncAlways the loss of power,
// SyncInterval(d) the end of the process and the loss of power but for the last d, SyncNever the end of the process.
// AcksLeader and AcksNone promise the end of the process in every mode. An append that returned an error was not
// acknowledged, and with ErrStorage or after a crash it may still be there.
//
// Readers never see above the high watermark, which is what the sync mode has made good already. So nothing that was
// read is lost by what the mode survives.
//
// Every change of the catalogue (topics, partition counts, settings, producer ids, log start offsets) is durable when
// its call returns nil, whatever the sync mode.
//
// A topic deleted and created again is another topic: it has another id, and requests that carry the old id are
// refused.
//
// # Transactions
//
// A transaction appends to several partitions and ends in all of them alike (KIP-98, KIP-890). producer.Transact is the way to
// write one; below it are three calls. InitProducerID with a transactional id gives the id's only live producer: whoever had it
// before is fenced. Appends with AppendRequest.TransactionalID make their partition part of the transaction. EndTxn commits or
// aborts it: when it returns nil that is durable, and will be so in every partition, whatever happens. Readers choose: with
// FetchRequest.ReadCommitted they stop at the last stable offset, which an open transaction holds back, and learn which
// transactions to skip; without, they read everything.
//
// The store's transaction coordinator keeps its state in __transaction_state, with Kafka's records. Open starts it when that topic holds
// anything: it finishes what was decided and aborts what was not, also for a program that only reads. A transaction that
// is open for longer than its timeout is aborted, under an epoch above its producer's: what that still sends to it is refused.
//
// In SyncAlways a commit waits for two syncs, one after the other: of the data of all its partitions at once, and of the decision. Sends
// with AcksLeader inside of the transaction wait for none. Markers are written after the answer; the next transaction of the same
// id waits for them. In the weaker modes a loss of power takes what it takes elsewhere, and may take parts of a committed
// transaction; what was aborted is never shown as committed, and no partition stays behind an open transaction.
//
// # Compaction
//
// A topic whose CleanupPolicy is CleanupCompact keeps at least the last record of each key (KIP-58); a record without a value, a
// tombstone, deletes its key, and goes itself after DeleteRetention. The store compacts by itself: each CleanerBackoff it looks at what
// has been appended to, and cleans the partitions that are dirty enough, the dirtiest first; Compact does it now. Offsets and order
// never change; whoever reads from the beginning sees the last committed record of every key, whoever stays within DeleteRetention of the
// end every tombstone. The active segment, what is not stable, and what is younger than MinCompactionLag stays. Each dirty byte is read
// twice, what stays is written once; memory is bounded by CleanerMapBytes, and more keys than fit take more passes. A crash at
// any moment loses no last value and brings no older one back. A partition in which something cannot be read is left alone, and
// told to Events.Uncleanable.
//
// # One of several
//
// With Config.Cluster a store is one node of a cluster (package replication makes one of it). Changes of topics, settings and producer ids are proposed
// (Cluster.Propose) and made when they come back (ApplyShared), in the same order on every node. SetReplica says what the node is to each
// partition; only a leader takes appends, and AcksAll means that the high watermark has passed the batch, which Replica.SetHighWatermark moves. A
// Replica's other methods are for copying. Without a Cluster nothing of this costs anything.
//
// The directory of a store that was alone becomes a node's as it is: all that it has counts as acknowledged. A node's directory may be opened without a
// Cluster again. Then its partitions begin a leader epoch above all that they have seen; topics whose copies are on other nodes are empty; and
// what it had copied and not seen acknowledged counts as acknowledged. It must not go back to its cluster afterwards.
//
// # Files
//
// A store's directory holds lock, journal (the catalogue) and data, which is a Kafka log directory as it stands:
// Apache Kafka's tools read it, and a broker can take it over. To restore a backup made by Snapshot, put it in the
// place of the store, or just open it.
//
// # Concurrency
//
// All methods of all types may be called by any number of goroutines, except those of a Lease and of a FetchResult.
// Background work is done by functions that the clock calls; a store with nothing to do has no goroutine. Close waits
// for what runs.
//
// Locks are taken in this order: Store.admin, part.roles, Store.txnStart, Store.marking, part.mu, Store.mu, txnCoordinator.mu, shell.mu,
// part.waitMu and ackList.mu; the coordinator's is held for one step of its machine, never during I/O. The log's own locks are
// innermost; the log calls notify with none of them held, but in a cluster by whoever writes to it. The cleaner's lock comes before shell.mu, and is held for its lists only.
package partition
