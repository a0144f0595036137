package partition

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/internal/journal"
	"github.com/partlog/partlog/internal/mmap"
	"github.com/partlog/partlog/internal/vfs"
)

// Store is an open directory of topics. Any number of goroutines may use it. After Close every method returns
// ErrClosed.
type Store struct {
	config   Config
	defaults atomic.Pointer[map[string]string] // of topics, by Kafka's key: Config.Topics, and what AlterTopicDefaults has changed
	fs       vfs.FS
	root     string // absolute; what Dir returns
	readOnly bool
	maps     *mmap.Budget
	lock     io.Closer // nil if read-only

	index    atomic.Pointer[topicIndex] // copy on write, changed under mu
	closed   atomic.Bool                // set once everybody shall get ErrClosed
	counters storeCounters
	waiters  sync.Pool // of *waiter; here, not global, because synctest keeps channels in their bubble

	shell    shell
	services services

	txns      atomic.Pointer[txnCoordinator] // nil until the first use, see openTransactions
	txnStart  sync.Mutex                     // guards txnClosed and the start
	txnClosed bool
	txnsLed   ledTxns       // of a node of a cluster, instead of txns
	marking   sync.RWMutex  // held for reading while the markers of one transaction are written, by a snapshot for writing
	suspects  []*part       // of this open: went through recovery
	cleanOpen bool          // see CleanOpen
	idsTurn   chan struct{} // holds a token: one proposal of a block of producer ids at a time
	aborted   sync.Pool     // of *[]log.AbortedTxn

	admin sync.Mutex // one change of topics at a time; held during all I/O of one. Before mu

	mu            sync.Mutex       // guards all below; held during journal writes
	cat           *catalogue       // see catalogue.go
	journal       *journal.Journal // appended to under mu, so that its order is the catalogue's
	journalClosed bool
	ids           idBlock // producer ids that no producer has yet
	recovery      *RecoveryReport
	orphans       []*topic // deleted by an event that had seemed to fail; their files are still there

	settingsStamp atomic.Int64 // cat.stamp, changed under mu

	closeOnce sync.Once
	closeErr  error
	opened    time.Time
}

// topicIndex finds topics on the hot path. It is never changed, only replaced.
type topicIndex struct {
	byName map[string]*topic
	byID   map[TopicID]*topic
}

// topic is the live state of one topic of the catalogue.
type topic struct {
	name     string
	id       TopicID
	internal bool
	settings atomic.Pointer[settings]
	parts    atomic.Pointer[[]*part] // grows by replacement
	deleted  atomic.Bool
	own      map[string]string // overrides that settings were made of, in a cluster; guarded by the store's mu
}

// Dir returns the absolute path of the store, or "memory" for a store without a disk.
func (s *Store) Dir() string {
	if s.root == memoryRoot {
		return "memory"
	}
	return s.root
}

// ClusterID returns Kafka's cluster id of the store, which it has kept since its first open.
func (s *Store) ClusterID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cat.clusterID.String()
}

// Incarnation returns how many times the store has been opened for writing: what a member of a group leaves in its
// records, so that the next process knows that it is gone.
func (s *Store) Incarnation() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cat.incarnation
}

// Topic returns a handle of a topic: ErrUnknownTopicOrPartition if there is none.
func (s *Store) Topic(name string) (*Topic, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	t, err := s.lookup(name)
	if err != nil {
		return nil, err
	}
	return &Topic{s: s, t: t}, nil
}

// lookup finds a topic that is not deleted.
func (s *Store) lookup(name string) (*topic, error) {
	if t := s.index.Load().byName[name]; t != nil {
		return t, nil
	}
	return nil, unknownTopic(name)
}

// part returns one partition after checking the topic's id.
func (s *Store) part(tp TopicPartition, id TopicID) (*part, error) {
	t := s.index.Load().byName[tp.Topic]
	if t == nil {
		return nil, unknownTopic(tp.Topic)
	}
	if id != t.id && !id.IsZero() {
		return nil, ErrUnknownTopicID
	}
	return t.part(tp.Partition)
}

func (t *topic) part(i int32) (*part, error) {
	parts := *t.parts.Load()
	if uint32(i) >= uint32(len(parts)) {
		return nil, unknownPartition(TopicPartition{t.name, i}, len(parts))
	}
	return parts[i], nil
}

// Append appends one batch to one partition and waits for what r.Acks asks. It may be called by any number of
// goroutines; batches of one partition get their offsets in the order in which the calls reach its lock. ctx is
// looked at before anything is written: an append that has begun is finished, and its result is returned.
//
// Errors, all of which have changed nothing: ErrUnknownTopicOrPartition, ErrUnknownTopicID, ErrInvalidTopic (an
// internal topic), ErrMessageTooLarge (of which ErrRecordListTooLarge is one), ErrInvalidRecord, ErrInvalidTimestamp, ErrCorruptMessage,
// ErrOutOfOrderSequence, ErrInvalidProducerEpoch, ErrNoSpace, ErrReadOnly, ErrClosed; of a transactional batch also
// ErrInvalidProducerIDMapping, ErrInvalidTxnState, and ErrConcurrentTransactions if ctx ends while the end of the
// id's previous transaction is still going on. (Of ErrInvalidProducerEpoch, EndTxn with an abort tells whether it is a timeout,
// after which the producer may go on, or a newer instance: ErrProducerFenced.) After ErrStorage the batch may
// have been written, but was not acknowledged and will not be readable before a reopen.
//
// In a cluster the partition must be led here (ErrNotLeaderOrFollower), and AcksAll needs enough replicas in sync (ErrNotEnoughReplicas) and waits
// until the high watermark has passed the batch, r.Timeout is over or ctx ends; batches of transactions and of coordinators do so whatever
// r.Acks is. ErrTimeout, ErrNotEnoughReplicasAfterAppend, ErrNotLeaderOrFollower with a batch that was written, and ErrClosed may then come of one that is kept.
func (s *Store) Append(ctx context.Context, r AppendRequest) (AppendResult, error) {
	p, err := s.partToAppend(ctx, &r)
	if err != nil {
		return AppendResult{}, err
	}
	return p.append(ctx, r.Batch, r.options())
}

// partToAppend finds the partition of a batch.
func (s *Store) partToAppend(ctx context.Context, r *AppendRequest) (*part, error) {
	p, err := s.part(r.TopicPartition, r.TopicID)
	if err != nil && r.Internal && r.Topic == offsetsTopic && !s.closed.Load() {
		if err = s.ensureOffsetsTopic(ctx); err == nil {
			p, err = s.part(r.TopicPartition, r.TopicID)
		}
	}
	if err != nil {
		return nil, s.closedOr(err)
	}
	return p, nil
}

// closedOr returns ErrClosed for any error of a store that has been closed.
func (s *Store) closedOr(err error) error {
	if s.closed.Load() {
		return ErrClosed
	}
	return err
}
