package replication

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/wire/peer"
	"github.com/partlog/partlog/partition"
)

// Fetch returns whole batches of the partitions asked for, in their order, one result for each; see partition.Store.Fetch. Each leader
// is asked for its own. While a partition has no leader, or it cannot be reached, the partition brings nothing, and its figures are the last
// known ones. Batches from other nodes are the caller's.
func (n *Node) Fetch(ctx context.Context, r partition.FetchRequest) ([]partition.FetchResult, error) {
	if err := n.open(ctx); err != nil {
		return nil, err
	}
	out := r.Reuse
	if cap(out) < len(r.Partitions) {
		out = make([]partition.FetchResult, len(r.Partitions))
	}
	out = out[:len(r.Partitions)]
	r.Reuse = nil
	begun := clock.Elapsed(n.clock)
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		changed := n.metadataChanged()
		plan, soft, failed := n.planFetch(ctx, &r, out)
		left := max(r.MaxWait-(clock.Elapsed(n.clock)-begun), 0)
		wait := left
		if failed {
			wait = 0
		}
		if soft && len(plan) > 0 {
			wait = min(wait, maxPause) // then the others are looked for again
		}
		some, again, err := n.fetchAll(ctx, &r, plan, wait, out)
		if err != nil {
			return nil, err
		}
		if some || failed {
			return out, nil
		}
		if left = r.MaxWait - (clock.Elapsed(n.clock) - begun); left <= 0 {
			return out, nil
		}
		if again || len(plan) == 0 {
			if err := n.wait(ctx, changed, min(pause, left)); err != nil {
				return nil, err
			}
			pause = shorter(pause, changed)
		}
	}
}

// planFetch says which node is asked for which partitions. Those that nobody can be asked for now (soft) bring nothing, unknown ones
// have their error (failed).
func (n *Node) planFetch(ctx context.Context, r *partition.FetchRequest, out []partition.FetchResult) (plan map[int32][]int, soft, failed bool) {
	plan = map[int32][]int{}
	for i, p := range r.Partitions {
		out[i] = n.nothing(p.TopicPartition, out[i].Aborted)
		node, err := n.finder(ctx, p.TopicPartition, p.TopicID)()
		switch {
		case err == nil:
			plan[node] = append(plan[node], i)
		case unknown(err):
			out[i].Err, failed = err, true
		default:
			soft = true
		}
	}
	return plan, soft, failed
}

// nothing is the result of a partition that brings nothing.
func (n *Node) nothing(tp partition.TopicPartition, reuse []partition.AbortedTxn) partition.FetchResult {
	n.mu.Lock()
	defer n.mu.Unlock()
	f, known := n.figures[tp]
	if !known {
		f = figures{-1, -1, -1}
	}
	return partition.FetchResult{TopicPartition: tp, HighWatermark: f.high, LastStable: f.stable, LogStart: f.start, Aborted: reuse[:0]}
}

// figures are the last known ones of a partition that is led elsewhere.
type figures struct{ high, stable, start partition.Offset }

// fetchAll asks the nodes of a plan. some: there is something for the caller; again: somebody was not the one to ask.
func (n *Node) fetchAll(ctx context.Context, r *partition.FetchRequest, plan map[int32][]int, wait time.Duration, out []partition.FetchResult) (some, again bool, err error) {
	if len(plan) > 1 && wait > 0 { // whoever has something now answers now
		if some, again, err = n.fetchEach(ctx, r, plan, 0, out); some || err != nil {
			return some, again, err
		}
	}
	s, a, err := n.fetchEach(ctx, r, plan, wait, out)
	return s, a || again, err
}

// fetchEach asks all nodes at once; the first with something ends the waiting of the others.
func (n *Node) fetchEach(ctx context.Context, r *partition.FetchRequest, plan map[int32][]int, wait time.Duration, out []partition.FetchResult) (some, again bool, err error) {
	if len(plan) == 1 {
		for node, indexes := range plan {
			return n.fetchFrom(ctx, node, r, indexes, wait, out)
		}
	}
	waiting, enough := context.WithCancel(ctx)
	defer enough()
	var all sync.WaitGroup
	var mu sync.Mutex
	for node, indexes := range plan {
		all.Go(func() {
			s, a, e := n.fetchFrom(waiting, node, r, indexes, wait, out)
			mu.Lock()
			defer mu.Unlock()
			if s {
				enough()
			}
			some, again = some || s, again || a
			if e != nil && (ctx.Err() != nil || !errors.Is(e, context.Canceled)) {
				err = e
			}
		})
	}
	all.Wait()
	if err != nil {
		for i := range out {
			out[i].Lease.Release()
			out[i].Batches = nil
		}
	}
	return some, again, err
}

// fetchFrom asks one node for what it leads.
func (n *Node) fetchFrom(ctx context.Context, node int32, r *partition.FetchRequest, indexes []int, wait time.Duration, out []partition.FetchResult) (some, again bool, err error) {
	part := *r
	part.MaxWait = wait
	part.Partitions = make([]partition.FetchPosition, len(indexes))
	for i, at := range indexes {
		part.Partitions[i] = r.Partitions[at]
	}
	var results []partition.FetchResult
	if node == n.id {
		results, err = n.store.Fetch(ctx, part)
	} else {
		results, err = n.fetchAt(ctx, node, part)
	}
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, ErrClosed) {
			return false, true, nil // nobody is there: as if it had nothing
		}
		return false, false, err
	}
	for i, at := range indexes {
		f := results[i]
		if f.Err != nil && (lostToo(f.Err) || unknown(f.Err) || errors.Is(f.Err, partition.ErrUnknownLeaderEpoch)) {
			again = true
			continue
		}
		if node != n.id && f.Err == nil {
			n.mu.Lock()
			n.figures[f.TopicPartition] = figures{f.HighWatermark, f.LastStable, f.LogStart}
			n.mu.Unlock()
		}
		some = some || f.Err != nil || len(f.Batches) > 0 || f.DoesNotFit
		out[at] = f
	}
	return some, again, nil
}

// wireFetched is a partition.FetchResult whose batches come behind.
type wireFetched struct {
	TP          partition.TopicPartition
	Error       *wireError             `json:",omitempty"`
	High        partition.Offset       `json:",omitempty"`
	Stable      partition.Offset       `json:",omitempty"`
	Start       partition.Offset       `json:",omitempty"`
	Aborted     []partition.AbortedTxn `json:",omitempty"`
	Bytes       int                    `json:",omitempty"`
	DoesNotFit  bool                   `json:",omitempty"`
	CorruptNext partition.Offset       `json:",omitempty"`
}

type fetchReply struct {
	Results []wireFetched
	Error   *wireError `json:",omitempty"`
}

// fetchAt asks another node. The answer is all results without their batches, their length before them, and the batches.
func (n *Node) fetchAt(ctx context.Context, node int32, r partition.FetchRequest) (results []partition.FetchResult, err error) {
	var failure error
	err = n.call(ctx, node, kindFetch, mustJSON(r), func(body []byte) error {
		first, batches, err := unframed(body)
		var reply fetchReply
		if err == nil {
			err = json.Unmarshal(first, &reply)
		}
		if err != nil {
			return err
		}
		if failure = reply.Error.err(); failure != nil {
			return nil
		}
		if len(reply.Results) != len(r.Partitions) {
			return errors.New("an answer for other partitions than were asked for")
		}
		batches = append([]byte(nil), batches...) // the answer's are lent
		for _, f := range reply.Results {
			if f.Bytes < 0 || f.Bytes > len(batches) {
				return errors.New("an answer with fewer bytes than it says")
			}
			result := partition.FetchResult{
				TopicPartition: f.TP, Err: f.Error.err(), HighWatermark: f.High, LastStable: f.Stable, LogStart: f.Start,
				Aborted: f.Aborted, DoesNotFit: f.DoesNotFit, CorruptNext: f.CorruptNext,
			}
			if f.Bytes > 0 {
				result.Batches = batches[:f.Bytes:f.Bytes]
			}
			batches = batches[f.Bytes:]
			results = append(results, result)
		}
		return nil
	})
	if err == nil {
		err = failure
	}
	return results, err
}

// serveFetch answers a call of kindFetch with what is lent by the segments.
func (n *Node) serveFetch(ctx context.Context, body []byte) (peer.Reply, error) {
	var r partition.FetchRequest
	if err := json.Unmarshal(body, &r); err != nil {
		return peer.Reply{}, err
	}
	r.Reuse = nil
	results, err := n.store.Fetch(ctx, r)
	if err != nil && ctx.Err() != nil {
		return peer.Reply{}, ctx.Err() // see serveAppend
	}
	reply := fetchReply{Error: toWire(err)}
	pieces := [][]byte{nil}
	for i := range results {
		f := &results[i]
		reply.Results = append(reply.Results, wireFetched{
			TP: f.TopicPartition, Error: toWire(f.Err), High: f.HighWatermark, Stable: f.LastStable, Start: f.LogStart,
			Aborted: f.Aborted, Bytes: len(f.Batches), DoesNotFit: f.DoesNotFit, CorruptNext: f.CorruptNext,
		})
		if len(f.Batches) > 0 {
			pieces = append(pieces, f.Batches)
		}
	}
	pieces[0] = framed(mustJSON(reply), nil)
	return peer.Reply{Pieces: pieces, Release: func() {
		for i := range results {
			results[i].Lease.Release()
		}
	}}, nil
}
