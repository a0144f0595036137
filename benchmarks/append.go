package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// A store is one system opened for the append cells. append acknowledges the records as one unit at the cell's
// durability; it is called by worker w of several at once. scan reads everything back after a close and a reopen.
type store interface {
	append(w int, records [][]byte) error
	close() error
}

// opener opens a system in an empty directory, for appends by so many workers.
type opener func(dir string, shape shape) (store, error)

// scanner reads back what a closed store holds, in order of each writer.
type scanner func(dir string, shape shape, visit func([]byte) error) error

// shape of an append cell.
type shape struct {
	batch, size, workers int
	sync                 bool
	partitions           int // 0: all workers share one
}

// payloadLimit ends a run early, so that a fast system does not fill the disk or hit the dirty-page limit.
const payloadLimit = 768 << 20

// appendRun returns a run that appends for the given time and verifies by reading everything back.
func appendRun(s shape, open opener, scan scanner) func(environment) (sample, error) {
	return func(e environment) (sample, error) {
		st, err := open(e.dir, s)
		if err != nil {
			return sample{}, err
		}
		var got sample
		got.hist = new(histogram)
		var total atomic.Int64
		errs := make([]error, s.workers)
		var wg sync.WaitGroup
		before := mallocs()
		started := time.Now()
		deadline := started.Add(e.duration)
		for w := range s.workers {
			wg.Go(func() { errs[w] = appendWorker(st, s, w, deadline, &total, got.hist) })
		}
		wg.Wait()
		got.mallocs = mallocs() - before
		for _, err := range errs {
			if err != nil {
				return sample{}, err
			}
		}
		if err := st.close(); err != nil {
			return sample{}, fmt.Errorf("close: %w", err)
		}
		got.elapsed = time.Since(started)
		got.records = total.Load()
		got.bytes = got.records * int64(s.size)
		if scan == nil {
			return got, nil
		}
		c := newChecker(s.size)
		if err := scan(e.dir, s, c.record); err != nil {
			return sample{}, fmt.Errorf("read back: %w", err)
		}
		if c.seen != got.records {
			return sample{}, fmt.Errorf("read back %d records, %d were acknowledged", c.seen, got.records)
		}
		return got, nil
	}
}

func appendWorker(st store, s shape, w int, deadline time.Time, total *atomic.Int64, h *histogram) error {
	records := make([][]byte, s.batch)
	for i := range records {
		records[i] = newPayload(s.size)
	}
	limit := int64(payloadLimit / s.size / s.workers)
	// Reading the clock costs as much as a fifth of a small unsynced append: sample those.
	every := 1
	if !s.sync && s.batch*s.size < 16<<10 {
		every = 16
	}
	var done int64
	for n := 0; ; n++ {
		for i, r := range records {
			fill(r, uint64(w), uint64(done)+uint64(i))
		}
		if n%every != 0 {
			if err := st.append(w, records); err != nil {
				return err
			}
			done += int64(s.batch)
			continue
		}
		begin := time.Now()
		if begin.After(deadline) || done >= limit {
			break
		}
		if err := st.append(w, records); err != nil {
			return err
		}
		h.add(time.Since(begin))
		done += int64(s.batch)
	}
	total.Add(done)
	return nil
}
