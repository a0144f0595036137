package kafka

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/partlog/partlog/partition"
)

// fetches is the fetch side. A Fetch asks each leader in a request of its own and returns when one has data. The other requests
// go on, parked: the next Fetch that asks the same of the broker takes them over. So an idle leader costs one request each
// MaxWait, however much others have to give.
type fetches struct {
	fetchesMu sync.Mutex // guards what follows; a leaf
	parked    map[string]*fetching
	order     []string // of parked, the oldest first
	near      map[partition.TopicPartition]nearby
}

// nearby is a replica that the leader would have us read from (KIP-392).
type nearby struct {
	broker int32
	until  time.Time
}

// fetchGrace is for the way of an answer that a broker gives at the last moment.
const fetchGrace = 100 * time.Millisecond

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
			out[i] = nothing(r.Partitions[i].TopicPartition, out[i].Aborted)
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

// nothing is the result of a partition of which this call has heard nothing. Where it ends is not told: a reader with a bound
// takes an end beyond its position, without records before it, for a gap in the log.
func nothing(tp partition.TopicPartition, reuse []partition.AbortedTxn) partition.FetchResult {
	return partition.FetchResult{TopicPartition: tp, HighWatermark: -1, LastStable: -1, LogStart: -1, Aborted: reuse[:0]}
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

// collect asks the brokers and waits until one has something or is not the one to ask, or none has. some reports data or errors, soft that a broker
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
	for open > 0 && (!some && !soft || wait == 0) { // whoever was not the one to ask has told so at once: the others may have nothing for long
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
