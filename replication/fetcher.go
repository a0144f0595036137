package replication

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/replica"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
)

// fetcher fetches, on one goroutine, all partitions that one other node leads and this one follows: one session, one request at a time, which waits
// there until there is something.
type fetcher struct {
	m      *replicaManager
	source int32
	signal chan struct{}

	mu      sync.Mutex // guards all below
	plan    *replica.FetchPlan
	sent    map[control.PartitionID]replica.Position // as the session has them
	out     bool                                     // a request is on its way
	fresh   bool                                     // there is more to ask for than it asks
	nudging bool                                     // the leader is being asked to answer it

	// the goroutine's own
	req     replica.FetchRequest
	resp    replica.FetchResponse
	scratch kmsg.FetchRequest
	body    []byte // of the request
	pause   time.Duration
}

const (
	minFetchPause = 20 * time.Millisecond // after an error of a request; doubles up to Config.FetchBackoff
	minHold       = 2 * time.Millisecond  // the same, of a partition: the node that is to lead it has often just not begun yet
	// mostOfOne is how much of one partition is asked for at a time, in bytes. More takes fewer requests, but does not stay in the processor's cache
	// between the socket, the checksum and the write: 10 MiB took twice the processor time.
	mostOfOne = 2 << 20
	// parallelAppends is how many partitions of an answer are appended, and synced, at a time.
	parallelAppends = 16
)

// fetcher returns the fetcher from a node, nil for none.
func (m *replicaManager) fetcher(source int32) *fetcher {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || source < 0 || source == m.node.id {
		return nil
	}
	f := m.fetchers[source]
	if f == nil {
		f = &fetcher{m: m, source: source, signal: make(chan struct{}, 1), plan: replica.NewFetchPlan(), sent: map[control.PartitionID]replica.Position{}}
		m.fetchers[source] = f
		m.work.Go(f.run)
	}
	return f
}

// want says that h is to be fetched from where it ends.
func (f *fetcher) want(h *hosted) {
	h.mu.Lock()
	if h.follower == nil || h.source != f || h.held || h.follower.Waiting() {
		h.mu.Unlock()
		return
	}
	at, err := h.follower.Position(copyLog{h.copy})
	if err != nil {
		h.mu.Unlock()
		h.trouble(err)
		return
	}
	at.MaxBytes = int32(min(f.m.node.config.FetchBytes, mostOfOne))
	f.mu.Lock()
	f.plan.Want(h.id, at)
	nudge := f.changedLocked()
	f.mu.Unlock()
	h.mu.Unlock()
	if nudge {
		f.nudge()
	}
}

// forget says that h is not to be fetched any more, or not now.
func (f *fetcher) forget(h *hosted) {
	f.mu.Lock()
	f.plan.Forget(h.id)
	delete(f.sent, h.id)
	f.mu.Unlock()
}

// changedLocked notes that there is more to ask for, and reports whether the leader is to be nudged. mu is held.
func (f *fetcher) changedLocked() bool {
	notify(f.signal)
	if !f.out {
		return false
	}
	f.fresh = true
	if f.nudging {
		return false
	}
	f.nudging = true
	return true
}

// nudge has the leader answer the request that waits there: a new partition would wait behind it. As it may overtake the request, it asks
// until there is an answer.
func (f *fetcher) nudge() {
	m := f.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return
	}
	m.work.Go(func() {
		for {
			ctx, cancel := m.within(m.node.config.RequestTimeout)
			err := m.node.call(ctx, f.source, kindReplicaWake, nil, nil)
			cancel()
			sleep(m.ctx, m.clock, minFetchPause)
			f.mu.Lock()
			again := err == nil && f.out && f.fresh && m.ctx.Err() == nil // after an error the request ends, too
			f.nudging = again
			f.mu.Unlock()
			if !again {
				return
			}
		}
	})
}

// within is a context that ends with the manager, or when d has elapsed.
func (m *replicaManager) within(d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(m.ctx)
	stop := m.clock.AfterFunc(d, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

func (f *fetcher) run() {
	m := f.m
	for m.ctx.Err() == nil {
		f.mu.Lock()
		idle := f.plan.Len() == 0
		if !idle {
			f.request()
		}
		f.mu.Unlock()
		if idle {
			select {
			case <-f.signal:
			case <-m.ctx.Done():
			}
			continue
		}
		f.body = replica.AppendFetchRequest(f.body[:0], &f.req, &f.scratch)
		ctx, cancel := m.within(m.node.config.FetchWait + m.node.config.RequestTimeout)
		answered := false
		err := m.node.call(ctx, f.source, kindReplicaFetch, f.body, func(reply []byte) error {
			answered = true
			if err := replica.ReadFetchResponse(&f.resp, reply); err != nil {
				return err
			}
			m.counts.fetches.Add(1)
			m.counts.bytesIn.Add(uint64(len(reply)))
			f.answered()
			return nil
		})
		cancel()
		if err != nil {
			f.body = nil // the connection's writer may read it yet
		}
		if err != nil && m.ctx.Err() == nil {
			f.lost(err, answered)
		}
	}
}

// request makes the next request. mu is held.
func (f *fetcher) request() {
	c := &f.m.node.config
	f.plan.Request(&f.req)
	for i := range f.req.Partitions {
		p := &f.req.Partitions[i]
		f.sent[p.TopicPartition] = p.Position
	}
	f.req.Node, f.req.BrokerEpoch = replica.NodeID(f.m.node.id), f.m.node.control.epoch()
	f.req.MaxWait, f.req.MinBytes, f.req.MaxBytes = c.FetchWait, 1, int32(min(c.FetchBytes, maxFetchBytes))
	f.out, f.fresh = true, false
}

// lost begins anew after a request without an answer.
func (f *fetcher) lost(err error, answered bool) {
	m := f.m
	f.mu.Lock()
	f.plan.Lost()
	f.out = false
	f.mu.Unlock()
	if answered {
		m.node.events.FetchFailed(f.source, partition.TopicPartition{}, err)
		m.counts.fetchErrors.Add(1)
	}
	f.rest()
}

// rest waits a while, longer each time until an answer comes.
func (f *fetcher) rest() {
	f.pause = min(max(2*f.pause, minFetchPause), max(f.m.node.config.FetchBackoff, minFetchPause))
	sleep(f.m.ctx, f.m.clock, f.pause)
}

// sleep waits until d has elapsed or ctx ends.
func sleep(ctx context.Context, c clock.Clock, d time.Duration) {
	over := make(chan struct{})
	defer c.AfterFunc(d, func() { close(over) })()
	select {
	case <-over:
	case <-ctx.Done():
	}
}

// answered carries out what an answer means for each of its partitions.
func (f *fetcher) answered() {
	f.mu.Lock()
	f.out = false
	use := f.plan.Answered(f.resp.Code, f.resp.SessionID)
	f.mu.Unlock()
	if !use {
		f.rest()
		return
	}
	f.pause = 0
	var group sync.WaitGroup
	slots := make(chan struct{}, parallelAppends)
	together := len(f.resp.Partitions) > 1 && f.m.node.config.Store.Sync == partition.SyncAlways // waits for disks, not for the processor
	for i := range f.resp.Partitions {
		a := &f.resp.Partitions[i]
		if !together || len(a.Records) == 0 {
			f.take(a)
			continue
		}
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			f.take(a)
		})
	}
	group.Wait()
}

// take carries out what an answer means for one partition.
func (f *fetcher) take(a *replica.FetchAnswer) {
	m := f.m
	h := m.hosted(a.TopicPartition)
	if h == nil {
		return
	}
	f.mu.Lock()
	sent, known := f.sent[a.TopicPartition]
	f.mu.Unlock()
	h.mu.Lock()
	if !known || h.follower == nil || h.source != f {
		h.mu.Unlock()
		return
	}
	events, pause, err := h.takeLocked(sent, &a.Answer)
	h.mu.Unlock()
	for _, tell := range events {
		tell()
	}
	switch {
	case err != nil && failsReplica(err):
		h.fail(err)
	case err != nil || pause:
		if err != nil {
			m.counts.fetchErrors.Add(1)
			m.node.events.FetchFailed(f.source, h.tp, err)
		}
		h.hold(f)
	default:
		f.want(h)
	}
}

// takeLocked has the follower's machine say what is to be done, and does it. pause: not at once again. mu is held.
func (h *hosted) takeLocked(sent replica.Position, a *replica.Answer) (events []func(), pause bool, err error) {
	m, r := h.m, h.copy
	step, err := h.follower.Handle(copyLog{r}, sent, a)
	if err != nil {
		return nil, true, err
	}
	end := r.End()
	switch step.Kind {
	case replica.StepAppend:
		_, err = r.Append(step.Records)
	case replica.StepTruncate:
		if err = r.Truncate(partition.Offset(step.Offset)); err == nil {
			m.counts.truncations.Add(1)
			events = append(events, func() { m.node.events.Truncated(h.tp, partition.Offset(step.Offset), end) })
		}
	case replica.StepReset:
		if err = r.Reset(partition.Offset(step.Offset)); err == nil {
			m.counts.rebuilds.Add(1)
			events = append(events, func() {
				m.node.events.Rebuilding(h.tp, partition.Offset(step.Offset), "the leader's log does not reach back to where this replica ends")
			})
			if len(step.Records) > 0 {
				_, err = r.Append(step.Records)
			}
		}
	case replica.StepWait:
		h.pause = 0
		return nil, false, nil // want leaves it out until there is a new epoch
	case replica.StepBackoff:
		return nil, true, nil
	}
	if err != nil {
		return events, true, err
	}
	h.pause = 0
	high := h.follower.Done(step, int64(r.End()))
	r.SetHighWatermark(partition.Offset(high))
	if step.LogStart > int64(r.Start()) {
		err = r.SetLogStart(partition.Offset(step.LogStart))
	}
	return events, err != nil, err
}

// hold leaves the partition out for a while, longer each time.
func (h *hosted) hold(f *fetcher) {
	f.forget(h)
	h.mu.Lock()
	follower := h.follower
	h.held = true
	h.pause = min(max(2*h.pause, minHold), max(h.m.node.config.FetchBackoff, minFetchPause))
	pause := h.pause
	h.mu.Unlock()
	h.m.after(pause, func() {
		h.mu.Lock()
		same := h.follower == follower && follower != nil
		if same {
			h.held = false
		}
		h.mu.Unlock()
		if same {
			f.want(h)
		}
	})
}

// failsReplica reports whether an error means that the copy cannot go on as it is: a failed sync, or bytes of its own that are bad.
func failsReplica(err error) bool {
	return errors.Is(err, partition.ErrStorage) && !errors.Is(err, partition.ErrNoSpace)
}

// trouble takes an error of the copy outside of an answer.
func (h *hosted) trouble(err error) {
	if failsReplica(err) || errors.Is(err, log.ErrCorrupt) {
		h.fail(err)
		return
	}
	h.m.counts.fetchErrors.Add(1)
	h.m.node.events.FetchFailed(h.m.node.id, h.tp, err)
}
