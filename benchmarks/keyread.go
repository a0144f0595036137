package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

const (
	keyEvents  = 10_000_000
	keyOfEach  = 100 // events
	keyPayload = 84  // with the key of 8 about 100 bytes an event
	keyBatch   = 100
)

// keyReadCell reads the events of one key at a time, 100 of 10 million that lie one behind the other in the order of a shuffle, so that
// the 100 are spread over the whole partition. A latency is that of one key's whole history, warm.
func keyReadCell(name string) cell {
	return cell{name: name, latency: true, note: "latency is that of one key's 100 events", contenders: []contender{{"partlog", pageCache, readKeys}}}
}

func readKeys(e environment) (got sample, err error) {
	s, err := partition.Open(filepath.Join(e.dir, "store"), partition.Config{Sync: partition.SyncNever})
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	topic, err := s.CreateTopic(context.Background(), partlogTopic, partition.TopicConfig{KeyIndex: true, SegmentBytes: 256 << 20})
	if err != nil {
		return sample{}, err
	}
	p, err := topic.Partition(0)
	if err != nil {
		return sample{}, err
	}
	filling := time.Now()
	if err := fillKeys(p); err != nil {
		return sample{}, err
	}
	filled := time.Since(filling)
	rng := rand.New(rand.NewPCG(2, 3))
	var key [8]byte
	look := func() error {
		binary.BigEndian.PutUint64(key[:], rng.Uint64N(keyEvents/keyOfEach))
		n := 0
		for r, err := range s.ReadKey(context.Background(), partition.ReadKeyRequest{TopicPartition: partition.TopicPartition{Topic: partlogTopic}, Key: key[:]}) {
			if err != nil {
				return err
			}
			if string(r.Key) != string(key[:]) || len(r.Value) != keyPayload {
				return fmt.Errorf("the record at %d is another key's", r.Offset)
			}
			n++
		}
		if n != keyOfEach {
			return fmt.Errorf("%d events of a key, want %d", n, keyOfEach)
		}
		return nil
	}
	for range 2000 { // warm, and until the store has sealed what it rolled
		if err := look(); err != nil {
			return sample{}, err
		}
	}
	time.Sleep(2 * time.Second)
	got.hist = new(histogram)
	before, began := mallocs(), time.Now()
	for time.Since(began) < e.duration {
		started := time.Now()
		if err := look(); err != nil {
			return sample{}, err
		}
		got.hist.add(time.Since(started))
		got.records += keyOfEach
	}
	got.elapsed, got.mallocs, got.bytes = time.Since(began), mallocs()-before, got.records*(keyPayload+8)
	got.extra = map[string]float64{"fill_s": filled.Seconds()}
	return got, nil
}

func fillKeys(p *partition.Partition) error {
	keys := make([]uint32, keyEvents)
	for i := range keys {
		keys[i] = uint32(i % (keyEvents / keyOfEach))
	}
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
	var b batch.Builder
	var key [8]byte
	payload, buffer, now := newPayload(keyPayload), make([]byte, 0, 32<<10), time.Now().UnixMilli()
	for i, k := range keys {
		if i%keyBatch == 0 {
			b.Reset(buffer, batch.Options{})
		}
		binary.BigEndian.PutUint64(key[:], uint64(k))
		b.Append(now, key[:], payload, nil)
		if b.Count() < keyBatch {
			continue
		}
		out, err := b.Finish()
		if err == nil {
			_, err = p.Append(context.Background(), out, partition.AcksLeader)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
