package kafka

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
)

// fetches is the fetch side. A Fetch asks each leader in a request of its own and returns when one has data. The other requests
// go on, parked: the next Fetch that asks the same of the broker takes them over. So an idle leader costs one request each
// MaxWait, however much others have to give.
type fetches struct {
	fetchesMu sync.Mutex // guards what follows; a leaf
	parked    map[string]*fetching
	order     []string // of parked, the oldest first
	figures   map[partition.TopicPartition]figures
	near      map[partition.TopicPartition]nearby
}

// figures are the last known ones of a partition, for results that bring none.
type figures struct{ highWatermark, lastStable, logStart partition.Offset }

// nearby is a replica that the leader would have us read from (KIP-392).
type nearby struct {
	broker int32
	until  time.Time
}

// fetching is a request to one broker.
type fetching struct {
	key     string
	broker  int32
	indexes []int // of the partitions in the Fetch that has it now
	done    chan struct{}
	results []fetched // beside indexes
	err     error
}

// fetched is what a request brought of one partition.
type fetched struct {
	partition.FetchResult
	soft bool // nothing, because the broker is not the one to ask
}

const (
	// maxParked and maxParkedBytes bound requests that nobody waits for, and what those have brought.
	maxParked      = 64
	maxParkedBytes = 64 << 20
	// fetchGrace is for the way of an answer that a broker gives at the last moment.
	fetchGrace = 100 * time.Millisecond
)

// Fetch returns whole batches of the partitions asked for, in their order, one result for each, as partition.Store.Fetch does: it
// answers at once if any leader has MinBytes or a partition has an error, else it waits for up to MaxWait. While a leader
// cannot be reached or is moving, its partitions bring nothing. Errors of partitions are in their results; the call's own are
// partition.ErrClosed, ctx's and those of authentication.
func (c *Cluster) Fetch(ctx context.Context, r partition.FetchRequest) ([]partition.FetchResult, error) {
	if err := c.alive(ctx); err != nil {
		return nil, err
	}
	if r.MaxBytes <= 0 {
		r.MaxBytes = 50 << 20
	}
	out := r.Reuse
	if cap(out) < len(r.Partitions) {
		out = make([]partition.FetchResult, len(r.Partitions))
	}
	out = out[:len(r.Partitions)]
	until := c.config.Clock.Now().Add(r.MaxWait)
	for attempt := 1; ; attempt++ {
		for i := range out {
			out[i] = c.nothing(r.Partitions[i].TopicPartition, out[i].Aborted)
		}
		wait := max(until.Sub(c.config.Clock.Now()), 0)
		brokers, soft, err := c.plan(ctx, &r, out)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(out, func(f partition.FetchResult) bool { return f.Err != nil }) {
			wait = 0
		}
		some, unsure, err := c.collect(ctx, &r, brokers, wait, out)
		soft = soft || unsure
		wait = until.Sub(c.config.Clock.Now())
		if err != nil {
			return nil, err
		}
		if some || wait <= 0 {
			return out, nil
		}
		if soft || len(brokers) == 0 {
			if err := c.pause(ctx, min(wait, retryPause(attempt))); err != nil {
				return nil, err
			}
		}
	}
}

// nothing is the result of a partition that brings nothing.
func (c *Cluster) nothing(tp partition.TopicPartition, reuse []partition.AbortedTxn) partition.FetchResult {
	c.fetchesMu.Lock()
	defer c.fetchesMu.Unlock()
	f, ok := c.figures[tp]
	if !ok {
		f = figures{-1, -1, -1}
	}
	return partition.FetchResult{TopicPartition: tp, HighWatermark: f.highWatermark, LastStable: f.lastStable, LogStart: f.logStart, Aborted: reuse[:0]}
}

// target is one request of a Fetch. A partition that is asked for more than once is in one of them each.
type target struct {
	broker int32
	nth    int
}

// plan says which broker is asked for which partitions. Those that are unknown get their error; soft says that some have
// nobody to be asked just now.
func (c *Cluster) plan(ctx context.Context, r *partition.FetchRequest, out []partition.FetchResult) (brokers map[target][]int, soft bool, err error) {
	brokers = make(map[target][]int)
	times := make(map[partition.TopicPartition]int, len(r.Partitions))
	for i, p := range r.Partitions {
		of, err := c.leader(ctx, p.TopicPartition, p.TopicID)
		if _, unreachable := errors.AsType[*UnreachableError](err); unreachable {
			soft = true
			continue
		}
		if err != nil {
			if err := c.alive(ctx); err != nil {
				return nil, false, err
			}
			out[i].Err = err
			continue
		}
		if of.broker < 0 {
			soft = true
			c.outdated(p.Topic)
			continue
		}
		to := target{c.nearest(p.TopicPartition, of.broker), times[p.TopicPartition]}
		times[p.TopicPartition]++
		brokers[to] = append(brokers[to], i)
	}
	return brokers, soft, nil
}

func (c *Cluster) nearest(tp partition.TopicPartition, leader int32) int32 {
	c.fetchesMu.Lock()
	defer c.fetchesMu.Unlock()
	if n, ok := c.near[tp]; ok && c.config.Clock.Now().Before(n.until) {
		return n.broker
	}
	return leader
}

// collect asks the brokers and waits until one has something, or none has. some reports data or errors, soft that a broker
// was not the one to ask.
func (c *Cluster) collect(ctx context.Context, r *partition.FetchRequest, brokers map[target][]int, wait time.Duration, out []partition.FetchResult) (some, soft bool, err error) {
	some = slices.ContainsFunc(out, func(f partition.FetchResult) bool { return f.Err != nil })
	asked := make([]*fetching, 0, len(brokers))
	arrived := make(chan *fetching, len(brokers))
	over := make(chan struct{})
	defer close(over)
	for to, indexes := range brokers {
		f, err := c.ask(r, to.broker, indexes, max(1, r.MaxBytes/len(brokers)), wait)
		if err != nil {
			return false, false, err
		}
		asked = append(asked, f)
		go func() {
			select {
			case <-f.done:
				arrived <- f
			case <-over:
			}
		}()
	}
	late := make(chan struct{})
	if wait > 0 {
		// What was taken over may have been asked to wait longer; and a broker may not answer.
		defer c.config.Clock.AfterFunc(wait+fetchGrace, func() { close(late) })()
	}
	open := len(asked)
	for open > 0 && (!some || wait == 0) {
		select {
		case f := <-arrived:
			open--
			has, unsure := c.take(f, out)
			some, soft = some || has, soft || unsure
			if f.err != nil {
				err = f.err
			}
			asked = slices.DeleteFunc(asked, func(x *fetching) bool { return x == f })
		case <-late:
			open = 0
		case <-ctx.Done():
			c.park(asked)
			return false, false, ctx.Err()
		case <-c.life.Done():
			return false, false, partition.ErrClosed
		}
	}
	for _, f := range slices.Clone(asked) { // what has come meanwhile
		select {
		case <-f.done:
			has, unsure := c.take(f, out)
			some, soft = some || has, soft || unsure
			asked = slices.DeleteFunc(asked, func(x *fetching) bool { return x == f })
		default:
		}
	}
	c.park(asked)
	if some {
		return true, soft, nil
	}
	return false, soft, err
}

// take puts the results of a request into those of a Fetch.
func (c *Cluster) take(f *fetching, out []partition.FetchResult) (some, soft bool) {
	for i, index := range f.indexes {
		if i >= len(f.results) { // it failed
			soft = true
			continue
		}
		got := &f.results[i]
		if soft = soft || got.soft; got.soft {
			continue
		}
		aborted := append(out[index].Aborted, got.Aborted...)
		out[index] = got.FetchResult
		out[index].Aborted = aborted
		some = some || got.Err != nil || len(got.Batches) > 0
	}
	return some, soft
}

// askedKey is what makes two requests to a broker the same.
func askedKey(r *partition.FetchRequest, broker int32, indexes []int, maxBytes int) string {
	b := binary.AppendVarint(nil, int64(broker))
	b = binary.AppendVarint(b, int64(maxBytes))
	b = binary.AppendVarint(b, int64(r.MinBytes))
	if r.ReadCommitted {
		b = append(b, 1)
	}
	for _, i := range indexes {
		p := &r.Partitions[i]
		b = append(b, p.Topic...)
		b = append(b, 0)
		b = append(b, p.TopicID[:]...)
		b = binary.AppendVarint(b, int64(p.Partition))
		b = binary.AppendVarint(b, int64(p.Offset))
		b = binary.AppendVarint(b, int64(p.LeaderEpoch))
		b = binary.AppendVarint(b, int64(p.MaxBytes))
	}
	return string(b)
}

// ask takes over the request that is parked, or makes one.
func (c *Cluster) ask(r *partition.FetchRequest, broker int32, indexes []int, maxBytes int, wait time.Duration) (*fetching, error) {
	key := askedKey(r, broker, indexes, maxBytes)
	c.fetchesMu.Lock()
	if f := c.parked[key]; f != nil && wait > 0 {
		delete(c.parked, key)
		c.order = slices.DeleteFunc(c.order, func(k string) bool { return k == key })
		c.fetchesMu.Unlock()
		f.indexes = indexes
		return f, nil
	}
	c.fetchesMu.Unlock()
	f := &fetching{key: key, broker: broker, indexes: indexes, done: make(chan struct{})}
	positions := make([]partition.FetchPosition, len(indexes))
	for i, index := range indexes {
		positions[i] = r.Partitions[index]
	}
	minBytes, committed := max(r.MinBytes, 1), r.ReadCommitted
	if !c.background(func() {
		defer close(f.done)
		f.results, f.err = c.fetch(broker, positions, min(minBytes, maxBytes), maxBytes, wait, committed)
	}) {
		return nil, partition.ErrClosed
	}
	return f, nil
}

// park keeps requests that go on for whoever asks the same again. The oldest are forgotten.
func (c *Cluster) park(asked []*fetching) {
	c.fetchesMu.Lock()
	defer c.fetchesMu.Unlock()
	for _, f := range asked {
		if c.parked[f.key] != nil {
			continue
		}
		c.parked[f.key] = f
		c.order = append(c.order, f.key)
	}
	size, kept := 0, 0
	for kept < len(c.order) && kept < maxParked && size <= maxParkedBytes {
		kept++
		size += c.parked[c.order[len(c.order)-kept]].size()
	}
	for _, key := range c.order[:len(c.order)-kept] {
		delete(c.parked, key)
	}
	c.order = slices.Delete(c.order, 0, len(c.order)-kept)
}

// size is how many bytes a request has brought, 0 while it goes on.
func (f *fetching) size() int {
	select {
	case <-f.done:
	default:
		return 0
	}
	n := 0
	for i := range f.results {
		n += len(f.results[i].Batches)
	}
	return n
}

// fetch makes one request.
func (c *Cluster) fetch(broker int32, positions []partition.FetchPosition, minBytes, maxBytes int, wait time.Duration, committed bool) ([]fetched, error) {
	req := kmsg.NewPtrFetchRequest()
	req.ReplicaID, req.MaxWaitMillis, req.MinBytes, req.MaxBytes = -1, int32(wait.Milliseconds()), int32(minBytes), int32(maxBytes)
	req.SessionID, req.SessionEpoch, req.Rack = 0, -1, c.config.Rack
	if committed {
		req.IsolationLevel = 1
	}
	index := make(map[partition.TopicPartition]int, len(positions))
	names := make(map[partition.TopicID]string)
	topics := make(map[string]int)
	for i, p := range positions {
		index[p.TopicPartition] = i
		at, ok := topics[p.Topic]
		if !ok {
			at = len(req.Topics)
			topics[p.Topic] = at
			t := kmsg.NewFetchRequestTopic()
			t.Topic, t.TopicID = p.Topic, p.TopicID
			if p.TopicID.IsZero() {
				if of, err := c.leader(c.life, p.TopicPartition, p.TopicID); err == nil {
					t.TopicID = of.topic
				}
			}
			names[t.TopicID] = p.Topic
			req.Topics = append(req.Topics, t)
		}
		rp := kmsg.NewFetchRequestTopicPartition()
		rp.Partition, rp.FetchOffset, rp.CurrentLeaderEpoch = p.Partition, int64(p.Offset), int32(p.LeaderEpoch)
		rp.LastFetchedEpoch, rp.LogStartOffset, rp.PartitionMaxBytes = -1, -1, int32(p.MaxBytes)
		if p.MaxBytes <= 0 {
			rp.PartitionMaxBytes = 1 << 20
		}
		req.Topics[at].Partitions = append(req.Topics[at].Partitions, rp)
	}
	client, err := c.lanes.take()
	if err != nil {
		return nil, err
	}
	answer, err := client.Broker(int(broker)).Request(c.life, req)
	c.lanes.give(client, err == nil)
	if err != nil {
		err = c.failure(context.Background(), "Fetch", err)
	} else {
		err = brokerError("Fetch", answer.(*kmsg.FetchResponse).ErrorCode, nil)
	}
	if err != nil {
		for name := range topics {
			c.outdated(name)
		}
		c.forgetNear(positions)
		if partition.Retriable(err) {
			err = nil
		}
		return nil, err
	}
	out := make([]fetched, len(positions))
	for i, p := range positions {
		out[i].soft, out[i].TopicPartition = true, p.TopicPartition
	}
	for _, t := range answer.(*kmsg.FetchResponse).Topics {
		name := t.Topic
		if name == "" {
			name = names[t.TopicID]
		}
		for j := range t.Partitions {
			tp := partition.TopicPartition{Topic: name, Partition: t.Partitions[j].Partition}
			if i, ok := index[tp]; ok {
				out[i] = c.fetchedOf(positions[i], broker, &t.Partitions[j])
			}
		}
	}
	return out, nil
}

// fetchedOf is what an answer says of one partition.
func (c *Cluster) fetchedOf(p partition.FetchPosition, broker int32, a *kmsg.FetchResponseTopicPartition) fetched {
	f := fetched{FetchResult: partition.FetchResult{
		TopicPartition: p.TopicPartition, HighWatermark: partition.Offset(a.HighWatermark), LastStable: partition.Offset(a.LastStableOffset), LogStart: partition.Offset(a.LogStartOffset),
	}}
	of, err := c.leader(c.life, p.TopicPartition, p.TopicID)
	far := err == nil && of.broker != broker // it was asked as a replica
	switch {
	case a.ErrorCode == codeNone:
	case far:
		c.forgetNear([]partition.FetchPosition{p})
		f.soft = true
		return f
	case moved(a.ErrorCode):
		c.elected(p.TopicPartition, a.CurrentLeader.LeaderID, a.CurrentLeader.LeaderEpoch)
		// Whether a topic is gone, and not just new, the next look at the cluster says.
		f.soft = true
		return f
	case a.ErrorCode == codeFencedLeaderEpoch || a.ErrorCode == codeUnknownLeaderEpoch:
		c.outdated(p.Topic)
		fallthrough
	default:
		f.Err = brokerError("Fetch", a.ErrorCode, nil)
		return f
	}
	for _, x := range a.AbortedTransactions {
		f.Aborted = append(f.Aborted, partition.AbortedTxn{ProducerID: x.ProducerID, FirstOffset: partition.Offset(x.FirstOffset)})
	}
	slices.SortFunc(f.Aborted, func(a, b partition.AbortedTxn) int { return cmp.Compare(a.FirstOffset, b.FirstOffset) })
	f.Batches, f.CorruptNext, f.Err = whole(p, a.RecordBatches)
	c.fetchesMu.Lock()
	defer c.fetchesMu.Unlock()
	if c.figures == nil {
		c.figures, c.near = make(map[partition.TopicPartition]figures), make(map[partition.TopicPartition]nearby)
	}
	c.figures[p.TopicPartition] = figures{f.HighWatermark, f.LastStable, f.LogStart}
	if a.PreferredReadReplica >= 0 {
		c.near[p.TopicPartition] = nearby{a.PreferredReadReplica, c.config.Clock.Now().Add(c.config.MetadataMaxAge)}
		f.soft = len(f.Batches) == 0 && f.Err == nil // ask there
	}
	return f
}

func (c *Cluster) forgetNear(positions []partition.FetchPosition) {
	c.fetchesMu.Lock()
	defer c.fetchesMu.Unlock()
	for _, p := range positions {
		delete(c.near, p.TopicPartition)
	}
}

// whole returns the whole batches at the front of b, with right checksums (check.crcs). A broker may end its answer within
// a batch. What cannot be read is an error only if nothing comes before it.
func whole(p partition.FetchPosition, b []byte) (batches []byte, next partition.Offset, err error) {
	n := 0
	for n < len(b) {
		one, err := batch.Peek(b[n:])
		if errors.Is(err, batch.ErrShort) {
			break
		}
		if err == nil {
			err = one.CheckCRC()
		}
		if err == nil {
			n += len(one)
			continue
		}
		if n > 0 {
			break
		}
		if one == nil {
			return nil, 0, &log.CorruptionError{Path: p.TopicPartition.String(), Offset: p.Offset, NextOffset: p.Offset + 1, Err: err}
		}
		next := partition.Offset(one.NextOffset())
		return nil, next, &log.CorruptionError{Path: p.TopicPartition.String(), Offset: partition.Offset(one.BaseOffset()), NextOffset: next, Err: err}
	}
	return b[:n:n], 0, nil
}
