package producer

import (
	"math/bits"
	"sync"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// pending is one batch on its way: filled, closed, appended, answered. Until it has been taken for its first append it
// is guarded by its lane's mu; then its builder belongs to the goroutine that appends it.
type pending struct {
	builder batch.Builder
	buf     []byte
	entries []entry // one for each record accepted, also for those withdrawn

	next     *pending // in the lane's queue
	created  time.Time
	milli    int64     // created, since 1970
	started  time.Time // of the latest append
	charge   int       // bytes of buffer memory it holds
	pool     int       // class of buf, or noPool
	limit    int       // bytes, once it has more than one record
	acks     partition.Acks
	leaders  int // entries with AcksLeader that have not been answered
	tells    int // entries whose result a function waits for
	waits    int // entries whose result a Send waits for
	attempts int
	early    bool // a copy that carries results ahead of the batch
	inline   bool // is appended by the goroutine of the Send that made it

	// From the first append on, guarded by the lane's mu.
	state     pendingState
	sequenced bool // id and sequence are set
	id        partition.ProducerID
	sequence  int32
	topicID   partition.TopicID // of the latest append
	bump      *EpochBump        // to be reported
	behind    bool              // when the latest append began, one before it had no outcome
	sent      bool              // an append has been called
	uncertain bool              // an attempt ended without saying whether the batch was appended
	abandoned bool              // answered while an append of it was still running: its bytes are never used again
	result    partition.AppendResult
	size      int // bytes of the batch as last appended
	err       error
}

// pendingState is where a batch in flight is.
type pendingState uint8

const (
	sending  pendingState = iota // an append is running
	retrying                     // waits for another append
	done                         // has its outcome; waits for those before it
)

// entry is what is remembered of an accepted record beside its bytes.
type entry struct {
	done      func(Result)
	waiter    *waiter
	timestamp int64
	key       int32 // size in bytes, −1 null
	value     int32
	acks      partition.Acks
	answered  bool // its result has been delivered
	withdrawn bool // its bytes have been taken out of the batch
}

// Buffers come in classes of a factor of 4, so that a quiet partition holds little and a busy one all of BatchBytes.
const (
	smallestClass = 1 << 10
	classes       = 6 // 1, 4, 16, 64, 256 KiB, 1 MiB
	noPool        = -1
)

func classSize(class int) int { return smallestClass << (2 * class) }

// classOf returns the smallest class that holds n bytes, or noPool.
func classOf(n int) int {
	if n <= smallestClass {
		return 0
	}
	c := (bits.Len(uint(n-1)) - 10 + 1) / 2
	if c >= classes {
		return noPool
	}
	return c
}

var pendings [classes]sync.Pool

// newPending returns a batch with a buffer of charge bytes.
func newPending(charge int) *pending {
	class := classOf(charge)
	if class != noPool && classSize(class) != charge {
		class = noPool
	}
	if class != noPool {
		if b, ok := pendings[class].Get().(*pending); ok {
			return b
		}
	}
	return &pending{buf: make([]byte, 0, charge), charge: charge, pool: class}
}

// recycle gives b back to its pool. No I/O may see its bytes any more, and nobody its entries.
func (b *pending) recycle() {
	if b.pool == noPool || b.abandoned {
		return
	}
	clear(b.entries) // callbacks and what they hold on to
	b.entries = b.entries[:0]
	b.leaders, b.tells, b.waits, b.attempts = 0, 0, 0, 0
	b.inline, b.sequenced, b.sent, b.uncertain = false, false, false, false
	b.next, b.bump, b.err = nil, nil, nil
	pendings[b.pool].Put(b)
}

// holds reports whether a record of at most size bytes may join b.
func (b *pending) holds(size int) bool {
	n := b.builder.Len() + size
	return n <= cap(b.buf) && (n <= b.limit || len(b.entries) == 0)
}

// add appends a record and remembers whom to tell.
func (b *pending) add(r *Record, e entry) {
	b.builder.Append(e.timestamp, r.Key, r.Value, r.Headers)
	if len(b.entries) == 0 || e.acks < b.acks { // the strongest is the smallest
		b.acks = e.acks
	}
	if e.acks == partition.AcksLeader && !e.answered {
		b.leaders++
	}
	if e.done != nil {
		b.tells++
	}
	if e.waiter != nil {
		b.waits++
	}
	b.entries = append(b.entries, e)
}

// without takes the bytes of entry i out of a batch that has not been appended.
func (b *pending) without(i int, o batch.Options) error {
	data, err := b.builder.Finish()
	if err != nil {
		return err
	}
	at := 0
	for _, e := range b.entries[:i] {
		if !e.withdrawn {
			at++
		}
	}
	old := b.buf
	b.buf = make([]byte, 0, cap(old))
	var rebuilt batch.Builder
	rebuilt.Reset(b.buf, o)
	var it batch.Iterator
	data.Iterate(&it, maxDecompressed)
	for n := 0; it.Next(); n++ {
		if r := it.Record(); n != at {
			rebuilt.Append(r.Timestamp, r.Key, r.Value, r.Headers)
		}
	}
	if err := it.Err(); err != nil {
		b.buf = old
		return err
	}
	b.builder = rebuilt
	b.entries[i].withdrawn = true
	b.entries[i].waiter = nil
	b.waits--
	return nil
}

// maxDecompressed bounds what is read back of our own batches.
const maxDecompressed = 1 << 30

// outcome returns the result of entry i, whose record is the n-th that is in the batch.
func (b *pending) outcome(tp partition.TopicPartition, i, n int) Result {
	e := &b.entries[i]
	r := Result{TopicPartition: tp, Offset: -1, KeySize: int(e.key), ValueSize: int(e.value), Err: b.err}
	ms := e.timestamp
	if b.err == nil {
		r.Offset = b.result.BaseOffset + partition.Offset(n)
		if b.result.LogAppendTime >= 0 {
			ms = b.result.LogAppendTime
		}
	}
	r.Timestamp = time.UnixMilli(ms)
	return r
}
