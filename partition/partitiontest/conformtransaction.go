package partitiontest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// transaction is a transactional producer reduced to what it says to a store.
type transaction struct {
	c         *check
	id        string
	p         partition.ProducerID
	sequences map[partition.TopicPartition]int32
}

// begin makes a producer with a transactional id of the check's own.
func (c *check) begin(id string) *transaction {
	c.Helper()
	x := &transaction{c: c, id: c.tp.Topic + "." + id}
	x.init()
	return x
}

func (x *transaction) init() {
	x.c.Helper()
	p, err := x.c.s.InitProducerID(x.c.Context(), x.id, time.Minute, partition.NoProducerID)
	x.c.ok(err, "init producer id of "+x.id)
	x.p, x.sequences = p, map[partition.TopicPartition]int32{}
}

// request is an append of one record to the transaction.
func (x *transaction) request(tp partition.TopicPartition, v string) partition.AppendRequest {
	return partition.AppendRequest{TopicPartition: tp, TransactionalID: x.id, Foreign: true,
		Batch: TransactionalBatch(x.p, x.sequences[tp], Record{Timestamp: conformanceTime, Value: []byte(v)})}
}

func (x *transaction) try(tp partition.TopicPartition, v string) error {
	_, err := x.c.s.Append(x.c.Context(), x.request(tp, v))
	if err == nil {
		x.sequences[tp]++
	}
	return err
}

func (x *transaction) send(tp partition.TopicPartition, vs ...string) {
	x.c.Helper()
	for _, v := range vs {
		x.c.ok(x.try(tp, v), "send "+v)
	}
}

func (x *transaction) tryEnd(commit bool) error {
	next, err := x.c.s.EndTxn(x.c.Context(), x.id, x.p, commit)
	if err == nil {
		x.p, x.sequences = next, map[partition.TopicPartition]int32{}
	}
	return err
}

func (x *transaction) end(commit bool, what string) {
	x.c.Helper()
	x.c.ok(x.tryEnd(commit), what)
}

// stable waits until every transaction of a partition has ended there.
func (c *check) stable(tp partition.TopicPartition) {
	c.Helper()
	c.soon("all transactions have ended", func() bool { return c.lastStable(tp) == c.end(tp) })
}

func (c *check) lastStable(tp partition.TopicPartition) partition.Offset {
	c.Helper()
	o, err := c.b.ListOffsets(c.Context(), tp, partition.TimestampLastStable)
	c.ok(err, "list offsets")
	return o
}

// committed reads what a reader of committed records sees of a partition, as Kafka's consumers do (FetchResult.Aborted).
func (c *check) committed(tp partition.TopicPartition) (vs []string) {
	c.Helper()
	for at, end := c.start(tp), c.lastStable(tp); at < end; {
		rs, err := c.b.Fetch(c.Context(), partition.FetchRequest{ReadCommitted: true, Partitions: []partition.FetchPosition{position(tp, at)}})
		c.ok(err, "fetch")
		c.ok(rs[0].Err, "fetch")
		if len(rs[0].Batches) == 0 {
			c.Fatalf("nothing committed at offset %d of %d", at, end)
		}
		vs = append(vs, visible(c, &rs[0])...)
		at = nextOffset(rs[0].Batches)
		rs[0].Lease.Release()
	}
	return vs
}

func visible(c *check, r *partition.FetchResult) (vs []string) {
	aborted, skip := r.Aborted, map[int64]bool{}
	for rest := r.Batches; len(rest) > 0; {
		b, err := batch.Peek(rest)
		c.ok(err, "decode")
		rest = rest[len(b):]
		for len(aborted) > 0 && aborted[0].FirstOffset <= partition.Offset(b.LastOffset()) {
			skip[aborted[0].ProducerID], aborted = true, aborted[1:]
		}
		var it batch.Iterator
		b.Iterate(&it, 1<<20)
		switch {
		case b.IsControl():
			equal(c, it.Next(), true, "a record in a marker")
			if m, err := batch.ParseControl(it.Record()); err == nil && m.Type == batch.ControlAbort {
				delete(skip, b.ProducerID())
			}
		case b.IsTransactional() && skip[b.ProducerID()]:
		default:
			for it.Next() {
				vs = append(vs, string(it.Record().Value))
			}
		}
	}
	return vs
}

func committedAndAborted(c *check) {
	a, b := c.begin("a"), c.begin("b")
	a.send(c.at(0), "a1", "a2")
	b.send(c.at(0), "b1")
	a.send(c.at(1), "a3")
	b.send(c.at(0), "b2")
	b.end(false, "abort")
	a.end(true, "commit")
	b.send(c.at(2), "b3")
	b.end(true, "commit")
	for p, want := range [][]string{{"a1", "a2"}, {"a3"}, {"b3"}} {
		c.stable(c.at(int32(p)))
		same(c, c.committed(c.at(int32(p))), want, fmt.Sprint("committed in partition ", p))
	}
}

func openHoldsBack(c *check) {
	c.append("before")
	a := c.begin("a")
	a.send(c.tp, "open")
	c.append("after")
	equal(c, c.lastStable(c.tp), 1, "last stable offset")
	equal(c, c.end(c.tp), 3, "high watermark")
	found, err := c.s.LookUpOffset(c.Context(), c.tp, partition.TimestampLatest, partition.LeaderEpochUnknown, true)
	c.ok(err, "look up offset")
	equal(c, found.Offset, 1, "the end for readers of committed records")
	same(c, c.committed(c.tp), []string{"before"}, "committed")
	_, res := c.fetch(0, 0)
	equal(c, res.LastStable, 1, "last stable offset of a fetch")
	same(c, valuesOf(c.read(c.tp)), []string{"before", "open", "after"}, "what readers of everything see")
	a.end(true, "commit")
	c.stable(c.tp)
	equal(c, c.end(c.tp), 4, "high watermark, with the marker")
	same(c, c.committed(c.tp), []string{"before", "open", "after"}, "committed")
}

func abortedList(c *check) {
	a, b := c.begin("a"), c.begin("b")
	for range 2 { // a and b at 0 and 1, markers at 2 and 3; then at 4 to 7
		a.send(c.tp, "no")
		b.send(c.tp, "yes")
		a.end(false, "abort")
		c.soon("the abort's marker is there", func() bool { return c.end(c.tp)%4 == 3 })
		b.end(true, "commit")
		c.stable(c.tp)
	}
	aborted := func(from partition.Offset, committed bool) (all []partition.AbortedTxn) {
		for end := c.end(c.tp); from < end; { // one fetch may bring a part
			rs, err := c.b.Fetch(c.Context(), partition.FetchRequest{ReadCommitted: committed, Partitions: []partition.FetchPosition{position(c.tp, from)}})
			c.ok(err, "fetch")
			c.ok(rs[0].Err, "fetch")
			for _, x := range rs[0].Aborted {
				if !slices.Contains(all, x) {
					all = append(all, x)
				}
			}
			equal(c, len(rs[0].Batches) > 0, true, "something to read")
			from = nextOffset(rs[0].Batches)
			rs[0].Lease.Release()
		}
		return all
	}
	first, second := partition.AbortedTxn{ProducerID: a.p.ID, FirstOffset: 0}, partition.AbortedTxn{ProducerID: a.p.ID, FirstOffset: 4}
	same(c, aborted(0, true), []partition.AbortedTxn{first, second}, "from the beginning")
	same(c, aborted(4, true), []partition.AbortedTxn{second}, "from the second on")
	same(c, aborted(0, false), nil, "for readers of everything")
	same(c, c.committed(c.tp), []string{"yes", "yes"}, "committed")
}

func committedFetchWaits(c *check) {
	a := c.begin("a")
	a.send(c.tp, "x")
	got := c.waiting(partition.FetchRequest{ReadCommitted: true, MaxWait: 10 * time.Minute, Partitions: []partition.FetchPosition{position(c.tp, 0)}})
	a.send(c.tp, "y")
	a.end(true, "commit")
	f := <-got
	c.ok(f.err, "fetch")
	if vs := valuesOf(f.records); len(vs) < 2 || vs[0] != "x" || vs[1] != "y" { // a marker may follow
		c.Fatalf("the waiting fetch of committed records returned %v", vs)
	}
}

func newerFences(c *check) {
	old := c.begin("a")
	old.send(c.tp, "old")
	newer := c.begin("a")
	equal(c, newer.p.ID, old.p.ID, "producer id of the transactional id")
	equal(c, newer.p.Epoch > old.p.Epoch, true, "a later epoch")
	c.stable(c.tp)
	same(c, c.committed(c.tp), nil, "what the fenced one left open is aborted")
	c.is(old.try(c.tp, "late"), partition.ErrInvalidProducerEpoch, "a batch of the fenced one")
	c.is(old.try(c.at(2), "late"), partition.ErrInvalidProducerEpoch, "a batch of the fenced one elsewhere")
	c.is(old.tryEnd(true), partition.ErrProducerFenced, "a commit of the fenced one")
	newer.send(c.tp, "new")
	newer.end(true, "commit")
	c.stable(c.tp)
	same(c, c.committed(c.tp), []string{"new"}, "committed")
}

func continuedID(c *check) {
	a := c.begin("a")
	next, err := c.s.InitProducerID(c.Context(), a.id, time.Minute, a.p)
	c.ok(err, "continue")
	equal(c, next.ID, a.p.ID, "producer id")
	equal(c, next.Epoch > a.p.Epoch, true, "a later epoch")
	_, err = c.s.InitProducerID(c.Context(), a.id, time.Minute, partition.ProducerID{ID: a.p.ID + 1_000_000, Epoch: 0})
	c.is(err, partition.ErrProducerFenced, "an id that is not that of the transactional id")
	c.begin("a")
	_, err = c.s.InitProducerID(c.Context(), a.id, time.Minute, next)
	c.is(err, partition.ErrProducerFenced, "one that was fenced meanwhile")
}

func endIsRepeated(c *check) {
	a := c.begin("a")
	c.is(a.tryEnd(true), partition.ErrInvalidTxnState, "a commit of nothing")
	a.send(c.tp, "x")
	next, err := c.s.EndTxn(c.Context(), a.id, a.p, true)
	c.ok(err, "commit")
	again, err := c.s.EndTxn(c.Context(), a.id, a.p, true)
	c.ok(err, "commit again")
	equal(c, again, next, "the answer")
	_, err = c.s.EndTxn(c.Context(), a.id, a.p, false)
	c.is(err, partition.ErrInvalidTxnState, "an abort of what is committed")
	c.stable(c.tp)
	same(c, c.committed(c.tp), []string{"x"}, "committed")
}

func txnTimesOut(c *check) {
	a := c.begin("a")
	a.send(c.tp, "x")
	c.soon("it is aborted", func() bool { // whoever coordinates looks at the time now and then, and may just have got the id
		c.on.Clock.Advance(30 * time.Second)
		return c.lastStable(c.tp) == 2
	})
	same(c, c.committed(c.tp), nil, "committed")
	c.is(a.try(c.tp, "late"), partition.ErrInvalidProducerEpoch, "a batch that comes too late")
	c.is(a.tryEnd(true), partition.ErrInvalidTxnState, "a commit that comes too late")
	a.init()
	a.send(c.tp, "y")
	a.end(true, "commit")
	c.stable(c.tp)
	same(c, c.committed(c.tp), []string{"y"}, "committed")
}

func txnDescribed(c *check) {
	a := c.begin("a")
	idle := c.begin("b")
	a.send(c.at(2), "x")
	a.send(c.at(0), "x")
	ds, err := c.s.DescribeTransactions(c.Context(), []string{"nobody's." + a.id, a.id})
	c.ok(err, "describe")
	c.is(ds[0].Err, partition.ErrTransactionalIDNotFound, "an id that nobody has used")
	d := ds[1]
	c.ok(d.Err, "an open one")
	equal(c, d.TransactionListing, partition.TransactionListing{TransactionalID: a.id, Producer: a.p, State: partition.TransactionOngoing}, "listing")
	equal(c, d.Timeout, time.Minute, "timeout")
	equal(c, d.Start.UnixMilli(), c.now(), "start")
	same(c, d.Partitions, []partition.TopicPartition{c.at(0), c.at(2)}, "partitions")
	list := func(f partition.TransactionFilter) (ids []string) {
		f.Pattern = strings.ReplaceAll(c.tp.Topic, ".", `\.`) + ".*"
		all, err := c.s.ListTransactions(c.Context(), f)
		c.ok(err, "list")
		for _, x := range all {
			ids = append(ids, x.TransactionalID)
		}
		return ids
	}
	same(c, list(partition.TransactionFilter{}), []string{a.id, idle.id}, "all")
	same(c, list(partition.TransactionFilter{States: []partition.TransactionState{partition.TransactionOngoing}}), []string{a.id}, "open ones")
	same(c, list(partition.TransactionFilter{ProducerIDs: []int64{idle.p.ID}}), []string{idle.id}, "of a producer")
	_, err = c.s.ListTransactions(c.Context(), partition.TransactionFilter{Pattern: "("})
	c.is(err, partition.ErrInvalidConfig, "no pattern")
	ps, err := c.s.DescribeProducers(c.Context(), c.at(2))
	c.ok(err, "describe producers")
	equal(c, len(ps), 1, "producers")
	equal(c, ps[0].TxnStart, 0, "first offset of the open transaction")
	a.end(true, "commit")
	c.soon("it is complete", func() bool {
		ds, err := c.s.DescribeTransactions(c.Context(), []string{a.id})
		c.ok(err, "describe")
		return ds[0].State == partition.TransactionCompleteCommit
	})
}

func txnAbortedByAdmin(c *check) {
	c.is(c.s.AbortTransaction(c.Context(), "nobody's."+c.tp.Topic), partition.ErrTransactionalIDNotFound, "an id that nobody has used")
	a := c.begin("a")
	c.is(c.s.AbortTransaction(c.Context(), a.id), partition.ErrInvalidTxnState, "with nothing open")
	a.send(c.tp, "x")
	c.ok(c.s.AbortTransaction(c.Context(), a.id), "abort")
	c.stable(c.tp)
	same(c, c.committed(c.tp), nil, "committed")
	c.is(a.try(c.tp, "late"), partition.ErrInvalidProducerEpoch, "its producer's next batch")
	c.is(a.tryEnd(true), partition.ErrProducerFenced, "its producer's commit")
}

func notOfTheTransaction(c *check) {
	a := c.begin("a")
	r := a.request(c.tp, "x")
	r.Batch = valued("x")
	_, err := c.s.Append(c.Context(), r)
	c.is(err, partition.ErrInvalidRecord, "a batch that is not transactional")
	r = a.request(c.tp, "x")
	r.Batch = TransactionalBatch(partition.ProducerID{ID: a.p.ID + 1_000_000}, 0, Record{Timestamp: conformanceTime})
	_, err = c.s.Append(c.Context(), r)
	c.is(err, partition.ErrInvalidProducerIDMapping, "another's producer id")
	_, err = c.s.EndTxn(c.Context(), a.id, partition.ProducerID{ID: a.p.ID + 1_000_000}, true)
	c.is(err, partition.ErrInvalidProducerIDMapping, "a commit by another")
	equal(c, c.end(c.tp), 0, "high watermark")
}

func partitionsAdded(c *check) {
	a := c.begin("a")
	c.ok(c.s.AddPartitionsToTxn(c.Context(), a.id, a.p, []partition.TopicPartition{c.at(0), c.at(1)}), "add partitions")
	in, err := c.s.PartitionsInTxn(c.Context(), a.id, a.p, []partition.TopicPartition{c.at(0), c.at(2)})
	c.ok(err, "ask for partitions")
	same(c, in, []bool{true, false}, "partitions that are in the transaction")
	a.send(c.at(0), "x")
	a.end(true, "commit")
	c.stable(c.at(0))
	same(c, c.committed(c.at(0)), []string{"x"}, "committed")
}

func txnVersionOne(c *check) {
	a := c.begin("a")
	r := a.request(c.tp, "x")
	r.TxnAdded = true
	_, err := c.s.Append(c.Context(), r)
	c.is(err, partition.ErrTransactionAbortable, "a partition that was not added")
	c.ok(c.s.AddPartitionsToTxnV1(c.Context(), a.id, a.p, []partition.TopicPartition{c.tp}), "add a partition")
	r = a.request(c.tp, "x")
	r.TxnAdded = true
	_, err = c.s.Append(c.Context(), r)
	c.ok(err, "append")
	c.ok(c.s.EndTxnV1(c.Context(), a.id, a.p, true), "commit")
	c.ok(c.s.EndTxnV1(c.Context(), a.id, a.p, true), "commit again")
	c.is(c.s.EndTxnV1(c.Context(), a.id, a.p, false), partition.ErrInvalidTxnState, "abort")
	c.stable(c.tp)
	same(c, c.committed(c.tp), []string{"x"}, "committed")
}

func txnTimeoutBounds(c *check) {
	for _, d := range []time.Duration{0, -time.Second, 100 * time.Hour} {
		_, err := c.s.InitProducerID(c.Context(), c.tp.Topic, d, partition.NoProducerID)
		c.is(err, partition.ErrInvalidTransactionTimeout, d.String())
	}
}

func notHanging(c *check) {
	p := c.producer()
	_, err := c.send(p, 0)
	c.ok(err, "send")
	ps, err := c.s.DescribeProducers(c.Context(), c.tp)
	c.ok(err, "describe producers")
	c.is(c.s.AbortHanging(c.Context(), c.tp, ps[0]), partition.ErrInvalidTxnState, "a producer with nothing open")
	a := c.begin("a")
	a.send(c.tp, "x")
	ps, err = c.s.DescribeProducers(c.Context(), c.tp)
	c.ok(err, "describe producers")
	i := slices.IndexFunc(ps, func(s partition.ProducerState) bool { return s.Producer == a.p })
	if i < 0 {
		c.Fatalf("producers: %+v", ps)
	}
	if c.on.Differs.HangingIsJudged {
		return
	}
	c.is(c.s.AbortHanging(c.Context(), c.tp, ps[i]), partition.ErrInvalidTxnState, "a transaction that its coordinator knows")
	a.end(true, "commit")
}
