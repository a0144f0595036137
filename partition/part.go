package partition

import (
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/log"
)

// part is one partition of a store. After a clean close it is nothing but these fields until its first use: no file,
// no buffer, no goroutine.
type part struct {
	s  *Store
	t  *topic
	tp TopicPartition

	log      atomic.Pointer[log.Log] // nil until the first use
	touched  atomic.Bool             // the shell has it on its list
	unsynced atomic.Bool             // the shell will sync it (SyncInterval)
	failed   atomic.Bool             // Events.PartitionFailed has been called
	suspect  atomic.Bool             // has an open transaction that no record speaks of: the next open shall look again
	waiting  atomic.Int32            // parked fetches; see notify
	raised   atomic.Int32            // of RaiseLeaderEpochs; changed with mu held, see epoch
	unmarked atomic.Int64            // bytes synced since the recovery point was persisted, roughly

	counters partCounters
	cleaning partCleaning

	keys atomic.Pointer[keyOrder] // with a key index, from the first append on

	// In a cluster only, see roles.go and acks.go.
	role    atomic.Pointer[role] // nil until SetReplica
	roles   sync.Mutex           // one change of the role, or cut of the log, at a time; taken before all other locks but admin
	cutting bool                 // records are being cut off; guarded by the store's mu
	acks    ackList

	mu     sync.Mutex // guards opening, closing and the fields below; held during the I/O of an open
	start  partStart  // what the first open is told
	closed bool
	last   partEnd // after close
	broken error   // why it could not be opened; sticky until the store is reopened
	hosted bool    // in a cluster: there is a copy here

	waitMu sync.Mutex // guards parked
	parked *waitNode
}

// partStart is what the catalogue and the last close know of a partition that is not open yet.
type partStart struct {
	clean         bool
	end           Offset // log end offset at the clean close
	recoveryPoint Offset
	logStart      Offset
	cleaned       Offset // the first dirty one
	copied        bool   // by an import
	epoch         LeaderEpoch
	imprint       log.Imprint // of the segment that was appended to last
	highWatermark Offset      // in a cluster
}

// partEnd is what there is when a partition has been closed; an end of −1 is unknown.
type partEnd struct {
	end, start Offset
	imprint    log.Imprint
	cleaned    Offset
	high       Offset // high watermark, in a cluster
}

func unknownTopic(name string) error {
	return fmt.Errorf("%w: topic %q", ErrUnknownTopicOrPartition, name)
}

func unknownPartition(tp TopicPartition, n int) error {
	return fmt.Errorf("%w: partition %d of topic %q, which has %d", ErrUnknownTopicOrPartition, tp.Partition, tp.Topic, n)
}

func (p *part) dir() string {
	return filepath.Join(p.s.root, dataDirName, segment.PartitionDirName(p.tp.Topic, p.tp.Partition))
}

// open returns the partition's log, opening it at the first use.
func (p *part) open() (*log.Log, error) {
	if l := p.log.Load(); l != nil && !p.s.closed.Load() && !p.t.deleted.Load() {
		return l, nil
	}
	l, report, err := p.openSlow()
	switch {
	case report == nil:
	case err != nil:
		p.s.partitionFailed(p, err)
	case len(report.Findings) > 0:
		if f := p.s.config.Events.Recovered; f != nil {
			f(p.tp, *report)
		}
	}
	return l, err
}

// openSlow opens the log, unless somebody else does. The report is not nil if it was this call that did, or failed.
func (p *part) openSlow() (*log.Log, *PartitionRecovery, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.goneLocked(); err != nil {
		return nil, nil, err
	}
	if l := p.log.Load(); l != nil {
		return l, nil, nil
	}
	if p.broken != nil {
		return nil, nil, p.broken
	}
	if p.s.config.Cluster != nil && !p.hosted {
		return nil, nil, fmt.Errorf("%w: %s", ErrNotLeaderOrFollower, p.tp)
	}
	l, report, err := log.Open(p.logConfig())
	if err != nil {
		err = fmt.Errorf("open partition %s: %w", p.tp, noSpace(err))
		if errors.Is(err, ErrNoSpace) {
			return nil, nil, err // works again when there is space
		}
		p.broken = err
		return nil, &PartitionRecovery{}, err
	}
	if err := l.CheckImprint(p.start.imprint); err != nil {
		l.Abandon()
		err = fmt.Errorf("open partition %s: %w", p.tp, err)
		p.broken = err
		return nil, &PartitionRecovery{}, err
	}
	p.log.Store(l)
	p.s.counters.openPartitions.Add(1)
	if !p.start.clean || len(report.Findings) > 0 {
		p.s.report(*report)
	}
	return l, report, nil
}

// imprint is what the next open shall hold the file of the active segment against.
func (p *part) imprint(l *log.Log) log.Imprint {
	i := l.Imprint()
	if i.First == 0 || i.Last == 0 && i.Base == p.start.imprint.Base {
		return p.start.imprint // nothing was appended since the open
	}
	return i
}

// goneLocked says why nothing can be done with the partition any more, if so.
func (p *part) goneLocked() error {
	switch {
	case p.s.closed.Load():
		return ErrClosed
	case p.t.deleted.Load():
		return unknownTopic(p.tp.Topic)
	case p.closed:
		return ErrClosed
	}
	return nil
}

// startsWith returns what the next open is told.
func (p *part) startsWith() partStart {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.start
}

// gone is the error for err of an operation on p's log: closed by a deletion, it is the topic that is unknown, or there is no copy any more.
func (p *part) gone(err error) error {
	if errors.Is(err, ErrClosed) && !p.s.closed.Load() {
		switch {
		case p.t.deleted.Load():
			return unknownTopic(p.tp.Topic)
		case p.s.config.Cluster != nil: // RemoveReplica
			return fmt.Errorf("%w: %s", ErrNotLeaderOrFollower, p.tp)
		}
	}
	return err
}

func (p *part) logConfig() log.Config {
	st := p.t.settings.Load()
	return log.Config{
		FS:            p.s.fs,
		Dir:           p.dir(),
		Topic:         p.tp.Topic,
		Partition:     p.tp.Partition,
		TopicID:       p.t.id,
		Clock:         p.s.config.Clock,
		Settings:      st.log,
		LeaderEpoch:   p.epoch(),
		Clean:         p.start.clean,
		CleanEnd:      p.start.end,
		RecoveryPoint: p.start.recoveryPoint,
		LogStart:      p.start.logStart,
		Cleaned:       p.start.cleaned,
		Copied:        p.start.copied,
		Maps:          p.s.maps,
		Notify:        p.notify,
		ReadOnly:      p.s.readOnly,
		LazyCreate:    p.t.internal && p.s.config.Cluster == nil,
		Replicated:    p.s.config.Cluster != nil,
		HighWatermark: p.start.highWatermark,
	}
}

// highWatermark is the offset up to which acknowledged batches may be read: what the sync mode promises, and a read finds. What is written
// or durable is visible a moment later; a fetch that took it for readable in between would find nothing, and wait for the next change.
// Invariant: log start ≤ high watermark ≤ log end offset.
func (p *part) highWatermark(l *log.Log) Offset {
	if p.s.config.Cluster != nil {
		return l.Visible()
	}
	promised := l.Written()
	if st := p.t.settings.Load(); st.log.Sync == SyncAlways && !st.pending && !p.s.readOnly {
		promised = l.Durable()
	}
	return min(promised, l.Visible())
}

// close closes the log if it was opened; later calls return ErrClosed, or that the topic is unknown.
func (p *part) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	l := p.log.Load()
	if l == nil {
		p.last = partEnd{p.start.end, p.start.logStart, p.start.imprint, p.start.cleaned, p.start.highWatermark}
		return p.broken
	}
	err := l.Close()
	if err != nil {
		err = fmt.Errorf("close partition %s: %w", p.tp, err)
	}
	p.last = partEnd{l.End(), l.Start(), p.imprint(l), l.Cleaned(), l.Visible()}
	if p.suspect.Load() {
		p.last.end = -1 // as after a crash
	}
	return err
}
