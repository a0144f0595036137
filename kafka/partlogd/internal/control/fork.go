package control

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/partlog/partlog/kafka/kafkatest"
)

// fork is a cluster of its own on a copy of a store.
type fork struct {
	id       int64
	cluster  *kafkatest.Cluster
	handler  *Handler
	snapshot *kafkatest.Snapshot // taken for it alone; nil: of /v1/snapshots
}

type forkView struct {
	ID        int64  `json:"id"`
	Bootstrap string `json:"bootstrapServers"`
	Control   string `json:"control"` // the path below which it is controlled, in place of /v1
}

func (f *fork) view() forkView {
	return forkView{f.id, f.cluster.Bootstrap(), fmt.Sprintf("/v1/forks/%d", f.id)}
}

func (f *fork) close() error {
	err := errors.Join(f.handler.Close(), f.cluster.Close())
	if f.snapshot != nil {
		err = errors.Join(err, f.snapshot.Close())
	}
	return err
}

func (h *Handler) forkRoutes() {
	h.on("POST /v1/snapshots", func(r *http.Request) (answer, error) {
		s, err := h.cluster.Snapshot(r.Context())
		if err != nil {
			return nil, err
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.last++
		h.snapshots[h.last] = s
		return map[string]int64{"id": h.last}, nil
	})
	h.on("GET /v1/snapshots", func(*http.Request) (answer, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		out := []map[string]int64{}
		for _, id := range slices.Sorted(maps.Keys(h.snapshots)) {
			out = append(out, map[string]int64{"id": id})
		}
		return out, nil
	})
	h.on("DELETE /v1/snapshots/{id}", func(r *http.Request) (answer, error) {
		id, err := number(r, "id")
		if err != nil {
			return nil, err
		}
		h.mu.Lock()
		s := h.snapshots[id]
		delete(h.snapshots, id)
		h.mu.Unlock()
		if s == nil {
			return nil, fmt.Errorf("snapshot %d: %w", id, errNotThere)
		}
		return nil, s.Close()
	})
	h.on("POST /v1/forks", h.postFork)
	h.on("GET /v1/forks", func(*http.Request) (answer, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		out := []forkView{}
		for _, id := range slices.Sorted(maps.Keys(h.forks)) {
			out = append(out, h.forks[id].view())
		}
		return out, nil
	})
	h.on("DELETE /v1/forks/{id}", func(r *http.Request) (answer, error) {
		id, err := number(r, "id")
		if err != nil {
			return nil, err
		}
		h.mu.Lock()
		f := h.forks[id]
		delete(h.forks, id)
		h.mu.Unlock()
		if f == nil {
			return nil, fmt.Errorf("fork %d: %w", id, errNotThere)
		}
		return nil, f.close()
	})
	h.mux.HandleFunc("/v1/forks/{id}/{rest...}", func(w http.ResponseWriter, r *http.Request) {
		id, err := number(r, "id")
		h.mu.Lock()
		f := h.forks[id]
		h.mu.Unlock()
		if err == nil && f == nil {
			err = fmt.Errorf("fork %d: %w", id, errNotThere)
		}
		if err != nil {
			fail(w, status(err), err)
			return
		}
		inner := r.Clone(r.Context())
		inner.URL.Path, inner.URL.RawPath = "/v1/"+r.PathValue("rest"), ""
		f.handler.mux.ServeHTTP(w, inner)
	})
}

// postFork makes a cluster of a snapshot, or of the store as it is now.
func (h *Handler) postFork(r *http.Request) (_ answer, err error) {
	var in struct {
		Snapshot int64 `json:"snapshot"`
	}
	if err := read(r, &in); err != nil {
		return nil, err
	}
	h.mu.Lock()
	s := h.snapshots[in.Snapshot]
	h.mu.Unlock()
	f := &fork{}
	switch {
	case in.Snapshot != 0 && s == nil:
		return nil, fmt.Errorf("snapshot %d: %w", in.Snapshot, errNotThere)
	case s == nil:
		if s, err = h.cluster.Snapshot(r.Context()); err != nil {
			return nil, err
		}
		f.snapshot = s
	}
	if f.cluster, err = h.start(s); err != nil {
		if f.snapshot != nil {
			err = errors.Join(err, f.snapshot.Close())
		}
		return nil, err
	}
	f.handler = newHandler(f.cluster, h.start)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	f.id = h.last
	h.forks[f.id] = f
	return f.view(), nil
}
