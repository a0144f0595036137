package producer_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/partition/partitiontest"
	"github.com/partlog/partlog/producer"
)

// Histories of transactional producers that commit, abort, panic and fence each other, of readers of committed records,
// and of a store that is killed, or loses power, in the middle of it all. What a producer was told is what is read, in
// the end and at any time: everything that was committed once, nothing that was aborted, and of what nobody knows all or
// nothing. PARTLOG_SOAK=<duration> runs histories for so long.
func TestHistoriesOfTransactionsAreExactlyOnce(t *testing.T) {
	soak, _ := time.ParseDuration(os.Getenv("PARTLOG_SOAK"))
	least := 24
	if testing.Short() {
		least = 8
	}
	n, transactions, told := 0, 0, [3]int{}
	for begin := time.Now(); n < least || time.Since(begin) < soak; n++ {
		h := newHistory(t, uint64(n))
		h.run()
		transactions += len(h.txns)
		for i, k := range h.outcome {
			told[i] += k
		}
	}
	committed, aborted := told[wasCommitted], told[wasAborted]
	t.Logf("%d histories, %d transactions: %d committed, %d aborted, of %d nobody knows", n, transactions, committed, aborted, transactions-committed-aborted)
	require.Positive(t, committed)
	require.Positive(t, aborted)
	require.Less(t, committed+aborted, transactions)
}

const (
	historyPartitions = 3
	historyIDs        = 3
)

// history is one run. Every transaction has a number; its records say which one they are of how many.
type history struct {
	t      *testing.T
	seed   uint64
	synced bool
	disk   *partitiontest.Disk
	store  *partition.Store
	next   atomic.Int64 // number of the next transaction

	mu      sync.Mutex // guards all below; held while the disk is cloned, so that what is noted is in the clone
	life    int        // counts stores; what is told of a store that was killed is not noted any more
	txns    map[int64]*txn
	seen    [historyPartitions]map[string]bool // by readers
	outcome [3]int
}

type txn struct {
	values  map[int32][]string // by partition, in order
	outcome outcome
}

type outcome int

const (
	unknown outcome = iota
	wasCommitted
	wasAborted
)

func newHistory(t *testing.T, seed uint64) *history {
	h := &history{t: t, seed: seed, synced: seed%2 == 0, disk: partitiontest.NewDisk(), txns: map[int64]*txn{}}
	for n := range h.seen {
		h.seen[n] = map[string]bool{}
	}
	h.open()
	create(t, h.store, "t", historyPartitions)
	return h
}

func (h *history) open() {
	c := partition.Config{FS: h.disk}
	if !h.synced {
		c.Sync = partition.SyncNever
	}
	var err error
	h.store, err = partition.Open("s", c)
	require.NoError(h.t, err, "seed %d", h.seed)
}

func (h *history) run() {
	rng := rand.New(rand.NewPCG(h.seed, 7))
	lives := 1 + rng.IntN(3)
	for range lives {
		h.live(20+rng.IntN(60), rng.Uint64())
	}
	h.open()
	defer h.store.Close()
	for id := range historyIDs { // as after a restart: what is open is aborted
		p, err := producer.New(h.store, producer.Config{TransactionalID: fmt.Sprint("id", id)})
		require.NoError(h.t, err)
		require.NoError(h.t, p.Close())
	}
	h.check()
}

// live lets a store and its producers and readers live until so many transactions have begun, and then kills it.
func (h *history) live(transactions int, seed uint64) {
	if h.life > 0 {
		h.open()
	}
	store, life := h.store, h.life
	ctx, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	enough := make(chan struct{})
	until := h.next.Load() + int64(transactions)
	for id := range historyIDs {
		wg.Go(func() { h.produce(ctx, store, life, id, seed+uint64(id), until, enough) })
	}
	for n := range int32(historyPartitions) {
		wg.Go(func() { h.read(ctx, store, life, n) })
	}
	<-enough
	h.mu.Lock()
	h.life++
	after := h.disk.Kill()
	if h.synced && seed%3 == 0 {
		after = h.disk.Crash(seed)
	}
	h.mu.Unlock()
	stop()
	wg.Wait()
	_ = store.Close() // of a disk that nobody looks at any more
	h.disk = after
}

// produce runs transactions of one id, now and then from a new instance, while the older one goes on.
func (h *history) produce(ctx context.Context, store *partition.Store, life, id int, seed uint64, until int64, enough chan struct{}) {
	rng := rand.New(rand.NewPCG(seed, 11))
	var instances sync.WaitGroup
	defer instances.Wait()
	for ctx.Err() == nil {
		p, err := producer.New(store, producer.Config{TransactionalID: fmt.Sprint("id", id), MaxInFlight: 1 + rng.IntN(3), BatchBytes: 200})
		if err != nil {
			require.ErrorIs(h.t, err, producer.ErrProducerFenced) // by nobody but another New; there is none
			return
		}
		count, mine := 1+rng.IntN(20), rand.New(rand.NewPCG(rng.Uint64(), 13))
		instance := func() {
			defer p.Close()
			for ctx.Err() == nil {
				if h.transact(ctx, p, life, mine) || count == 0 {
					return
				}
				if h.next.Load() >= until {
					select {
					case <-enough:
					default:
						h.mu.Lock()
						if life == h.life {
							select {
							case <-enough:
							default:
								close(enough)
							}
						}
						h.mu.Unlock()
					}
				}
				count--
			}
		}
		if rng.IntN(3) == 0 {
			instances.Go(instance) // the next one fences it
		} else {
			instance()
		}
	}
}

// transact runs one transaction, and reports whether the producer is of no use any more.
func (h *history) transact(ctx context.Context, p *producer.Producer, life int, rng *rand.Rand) (over bool) {
	number := h.next.Add(1)
	x := &txn{values: map[int32][]string{}}
	size := rng.IntN(8)
	for i := range size {
		n := rng.Int32N(historyPartitions)
		x.values[n] = append(x.values[n], fmt.Sprintf("%d:%d/%d", number, i, size))
	}
	h.mu.Lock()
	if life == h.life {
		h.txns[number] = x
	}
	h.mu.Unlock()
	fate := rng.IntN(10)
	if fate == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		time.AfterFunc(time.Duration(rng.IntN(300))*time.Microsecond, cancel)
		defer cancel()
	}
	note := func(o outcome) {
		h.mu.Lock()
		defer h.mu.Unlock()
		if life == h.life {
			x.outcome = o
			h.outcome[o]++
		}
	}
	defer func() {
		if r := recover(); r != nil {
			if r != errStop {
				panic(r)
			}
			note(wasAborted)
		}
	}()
	err := p.Transact(ctx, func(tx *producer.Tx) error {
		for n, values := range x.values {
			for i, v := range values {
				if i%3 == 2 {
					if _, err := tx.Send(ctx, to(n, v)); err != nil {
						return err
					}
				} else {
					tx.SendAsync(ctx, to(n, v), nil)
				}
			}
		}
		switch fate {
		case 1, 2:
			return errStop
		case 3:
			panic(errStop)
		}
		return nil
	})
	if err == nil {
		note(wasCommitted)
		return false
	}
	if _, lost := errors.AsType[*producer.OutcomeUnknownError](err); !lost {
		note(wasAborted)
	}
	return errors.Is(err, producer.ErrProducerFenced) || errors.Is(err, producer.ErrClosed)
}

// read notes what a reader of committed records sees.
func (h *history) read(ctx context.Context, store *partition.Store, life int, n int32) {
	r := reader{store: store, tp: partition.TopicPartition{Topic: "t", Partition: n}}
	for ctx.Err() == nil {
		values, err := r.next(ctx)
		if ctx.Err() != nil {
			return
		}
		require.NoError(h.t, err)
		h.mu.Lock()
		if life == h.life {
			for _, v := range values {
				h.seen[n][v] = true
			}
		}
		h.mu.Unlock()
	}
}

// check compares what is there with what the producers were told.
func (h *history) check() {
	there := map[string]int{}
	for n := range historyPartitions {
		all := committed(h.t, h.store, n)
		place := map[string]int{}
		for i, v := range all {
			there[v]++
			require.Equal(h.t, 1, there[v], "seed %d: %s is there twice", h.seed, v)
			place[v] = i
		}
		for v := range h.seen[n] {
			require.Contains(h.t, place, v, "seed %d: a reader has seen what is not there", h.seed)
		}
		for number, x := range h.txns { // the records of a transaction are in order
			last := -1
			for _, v := range x.values[int32(n)] {
				if at, ok := place[v]; ok {
					require.Greater(h.t, at, last, "seed %d: transaction %d", h.seed, number)
					last = at
				}
			}
		}
	}
	for number, x := range h.txns {
		found, size := 0, 0
		for _, values := range x.values {
			size += len(values)
			for _, v := range values {
				found += there[v]
				delete(there, v)
			}
		}
		switch {
		case x.outcome == wasCommitted:
			require.Equal(h.t, size, found, "seed %d: transaction %d was committed", h.seed, number)
		case x.outcome == wasAborted:
			require.Zero(h.t, found, "seed %d: transaction %d was aborted", h.seed, number)
		case found != 0:
			require.Equal(h.t, size, found, "seed %d: transaction %d is there by half", h.seed, number)
		}
	}
	for v := range there { // begun when the store was being killed
		require.True(h.t, strings.Contains(v, ":"), v)
		require.Fail(h.t, "unknown record", "seed %d: %s", h.seed, v)
	}
}
