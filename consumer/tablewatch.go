package consumer

import (
	"context"
	"iter"
)

// Change is a key of a table whose entry is another one.
type Change[K comparable, V any] struct {
	Key     K
	Value   V    // the zero V if Deleted
	Deleted bool // the key has gone
}

// watcher collects the keys that one Watch has not told of yet. It is guarded by the table's mu.
type watcher[K comparable] struct {
	keys   []K // in the order in which they changed first
	listed map[K]bool
	signal chan struct{} // holds one token: there is something to look at
}

func (w *watcher[K]) note(key K) {
	if w.listed[key] {
		return
	}
	w.listed[key] = true
	w.keys = append(w.keys, key)
	w.wake()
}

func (w *watcher[K]) wake() {
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// Watch yields every key that is in the table, and then each that changes, until ctx is done or the table ends; that error is the last
// pair, with a zero Change. A loop that is slower than the table sees the newest value of a key and not those between, so what waits for
// it is never more than the keys. A key may be told of again with the same value, and one that has come and gone in between as deleted.
func (t *Table[K, V]) Watch(ctx context.Context) iter.Seq2[Change[K, V], error] {
	return func(yield func(Change[K, V], error) bool) {
		w := &watcher[K]{listed: make(map[K]bool), signal: make(chan struct{}, 1)}
		t.mu.Lock()
		for k := range t.entries {
			w.note(k)
		}
		t.watchers[w] = struct{}{}
		if t.err != nil {
			w.wake()
		}
		t.mu.Unlock()
		defer func() {
			t.mu.Lock()
			defer t.mu.Unlock()
			delete(t.watchers, w)
		}()
		for {
			changes, err := t.changes(w)
			for _, c := range changes {
				if !yield(c, nil) {
					return
				}
			}
			if err != nil {
				yield(Change[K, V]{}, err)
				return
			}
			select {
			case <-w.signal:
			case <-ctx.Done():
				yield(Change[K, V]{}, ctx.Err())
				return
			}
		}
	}
}

// changes takes what w has collected; with the error that has ended the table, those are the last.
func (t *Table[K, V]) changes(w *watcher[K]) ([]Change[K, V], error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Change[K, V], len(w.keys))
	for i, k := range w.keys {
		e, ok := t.entries[k]
		out[i] = Change[K, V]{Key: k, Value: e.Value, Deleted: !ok}
	}
	w.keys = w.keys[:0]
	clear(w.listed)
	return out, t.err
}
