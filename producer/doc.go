// Package producer sends records to the topics of a partition.Store, or of anything else that takes record batches:
// batched, idempotent, in order per partition, with one result for each record.
//
// # A first record
//
//	store, err := partition.Open("data", partition.Config{})
//	if err != nil { return err }
//	defer store.Close()
//	_, err = store.CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 8})
//	if err != nil && !errors.Is(err, partition.ErrTopicAlreadyExists) { return err }
//
//	p, err := producer.New(store, producer.Config{}) // idempotent, acks=all
//	if err != nil { return err }
//	defer p.Close() // flushes
//	orders := producer.For(p, "orders", producer.String, producer.JSON[Order]) // K, V inferred
//	if _, err := orders.Send(ctx, "customer-42", Order{Cents: 1999}); err != nil { return err }
//
// Send waits for the result. SendAsync does not: it hands the result to a function, and is the fast one for one
// goroutine with many records. Flush waits for all. Both are safe from any number of goroutines, and one Producer is
// enough for a process.
//
// # The nouns
//
// A Record has a topic, a key, a value and headers; nil is null, which is not empty. The Partitioner chooses its
// partition by the key, unless the record names one with To. An Encoder turns a Go value into bytes, and a View is a
// topic with an encoder for keys and one for values. A batch is what is appended at once: records of one partition,
// built in the layout of the disk as they are accepted, so that nothing is encoded twice. A Result says where a record
// is, or why it is not.
//
// # How batches close
//
// With Config.Linger at its default of 0 a batch closes when the append before it has finished. A lone Send appends at
// once, on its own goroutine; under load the batches grow just as far as the disk is behind, up to Config.BatchBytes.
// With a Linger, a batch that is not full waits that long for more.
//
// # What is promised
//
//   - Exactly one result for each record, also if it is refused, withdrawn or given up.
//   - Records of one partition are appended in the order in which they were accepted, also when appends are retried,
//     and their callbacks run in this order, one at a time. The return of a Send is not ordered with callbacks.
//   - No record is appended twice by a retry (KIP-98): batches carry a producer id, an epoch and sequences, and
//     the store answers a repeated batch with its first offset. After a batch that failed, the partition goes on with a
//     new epoch.
//   - Result.Err nil means what the record's acks ask for: AcksAll what the topic's sync mode promises, AcksLeader that
//     the record is in the page cache, AcksNone that it is in the memory of this process. A batch of mixed acks is
//     appended with the strongest; results that ask for less come earlier. What happens to a record after its result
//     is told by Events.Lost.
//   - An error is final. *UncertainError says that the record may be in the log nevertheless; any other says that it is
//     not. Errors for which partition.Retriable holds are retried until Config.DeliveryTimeout; all others, a full
//     disk among them, come out at once.
//   - A topic that is deleted and created again gets the records that were still on their way; its id is checked with
//     every append.
//
// # Transactions
//
// A producer with a Config.TransactionalID sends in scopes: what a scope sends, and the offsets it commits, are seen by
// readers of committed records all or not at all, whatever is killed in between.
//
//	p, err := producer.New(store, producer.Config{TransactionalID: "billing"}) // fences the instance before
//	...
//	err = p.Transact(ctx, func(tx *producer.Tx) error {
//		if _, err := invoices.In(tx).Send(ctx, "42", invoice); err != nil { return err } // abort
//		return nil // commit
//	})
//
// Read, process, write, exactly once: the consumer reads committed records and does not commit by itself
// (consumer.CommitManual, ReadCommitted), and its offsets are part of the transaction that has the results. A panic, a
// kill or a rebalance in between leaves both out, and the records are read again.
//
//	for {
//		records, err := c.Poll(ctx)
//		if err != nil { return err }
//		err = p.TransactFrom(ctx, c, func(tx *producer.Tx) error { // commits c's offsets, too
//			for _, r := range records {
//				tx.SendAsync(ctx, result(r), nil)
//			}
//			return nil
//		})
//		if again(err) { continue } // an *AbortedError: the next Poll has the same records
//		if err != nil { return err }
//	}
//
// What Transact returns says what happened: nil, committed and durable; *AbortedError, nothing of it; *OutcomeUnknownError,
// one of the two, and the next Transact learns which before it begins; ErrProducerFenced, for good. A record's Result says
// that it is written, which counts with the commit; a record that cannot be sent makes the commit an abort. One producer
// has one transaction at a time; within it, any number of goroutines send. A synced transaction waits for two syncs after
// each other, of its data and of its decision, however many records it has: what costs is the transaction, so put many
// records in one.
//
// Transactional ids name what must not run twice at the same time: a worker, a partition of the input. With members of a
// consumer group, whose generation fences them, any id of the process's own will do (KIP-447), as long as the next run has
// the same: New then ends at once what a kill has left open. Package producer/txn lists transactions and ends those of
// others.
//
// # Bounds
//
// Records that are not yet written, or whose callbacks have not returned, are held in Config.BufferMemory. When that
// is full, Send and SendAsync wait, those that wait longest first, and fail with *BufferExhaustedError after
// Config.MaxBlock. A partition without traffic holds no buffer, no timer and no goroutine; Config.Senders bounds the
// goroutines that append.
//
// # Goroutines and callbacks
//
// A callback runs on a goroutine of the producer that appends nothing while it does: it may call Send, SendAsync, Flush
// and Close, and block, at the cost of later callbacks of its partition only. In a callback SendAsync does not wait
// for memory, and Flush and Close do not wait for callbacks. The exceptions, which are called on the goroutine of
// SendAsync before it returns: records that are refused, and those with AcksNone. A callback that hands Flush or Close
// to another goroutine and waits for that one waits for ever.
//
// Interceptors see records before and results after; Events tell what no call returns; Stats counts.
package producer
