// Package txn holds the tools for transactions, as Kafka's kafka-transactions.sh has them (KIP-664): list and describe
// them, abort one whose producer does not end it, and find and abort those that hang.
//
// # What holds readers up
//
// Readers of committed records wait for the oldest open transaction of a partition. A transaction whose producer has died
// ends by itself, by its timeout (producer.Config.TransactionTimeout) or when the store is opened again; Abort ends it
// now, and fences its producer. A hanging transaction is one that is open in a partition and that no coordinator knows:
// nothing ends it. The verification of KIP-890 keeps them from coming about here, and a store aborts what it finds after a
// crash and what it imports; older brokers may have them. FindHanging finds them and AbortHanging ends them.
//
//	open, err := txn.List(ctx, store, txn.Filter{States: []txn.State{txn.Ongoing}, OlderThan: time.Hour})
//	if err != nil { return err }
//	for _, t := range open {
//		if err := txn.Abort(ctx, store, t.TransactionalID); err != nil { return err }
//	}
//
// Everything is a function of a Backend, which *partition.Store is. All are safe for any number of goroutines.
package txn
