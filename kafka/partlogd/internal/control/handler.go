package control

import (
	"errors"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/kafka/kafkatest"
	"github.com/partlog/partlog/partition"
)

// maxBody bounds what a request may bring.
const maxBody = 64 << 20

// Handler answers for one cluster, and for the forks that are made of it. Close ends those. It is safe for concurrent use.
type Handler struct {
	cluster *kafkatest.Cluster
	start   func(*kafkatest.Snapshot) (*kafkatest.Cluster, error)
	mux     *http.ServeMux
	limit   int64 // of a request's body

	mu        sync.Mutex // guards all below
	diskRules map[int64]*diskRule
	snapshots map[int64]*kafkatest.Snapshot
	forks     map[int64]*fork
	last      int64
}

// New makes a handler for a cluster, which stays the caller's. start makes a cluster of a snapshot, on ports of its own.
func New(c *kafkatest.Cluster, start func(*kafkatest.Snapshot) (*kafkatest.Cluster, error), ready *Health) *Handler {
	h := newHandler(c, start)
	h.mux.Handle("GET /healthz", ready)
	h.mux.Handle("GET /readyz", ready)
	return h
}

func newHandler(c *kafkatest.Cluster, start func(*kafkatest.Snapshot) (*kafkatest.Cluster, error)) *Handler {
	h := &Handler{cluster: c, start: start, mux: http.NewServeMux(), limit: maxBody, diskRules: map[int64]*diskRule{}, snapshots: map[int64]*kafkatest.Snapshot{}, forks: map[int64]*fork{}}
	h.clusterRoutes()
	h.ruleRoutes()
	h.diskRoutes()
	h.topicRoutes()
	h.groupRoutes()
	h.callRoutes()
	h.expectRoutes()
	h.forkRoutes()
	h.mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, errors.New("there is no "+r.Method+" "+r.URL.Path+"; see docs/control.md of partlogd"))
	})
	return h
}

// Close ends the forks and forgets the snapshots.
func (h *Handler) Close() error {
	h.mu.Lock()
	forks, snapshots := h.forks, h.snapshots
	h.forks, h.snapshots = map[int64]*fork{}, map[int64]*kafkatest.Snapshot{}
	h.mu.Unlock()
	var err error
	for _, f := range forks {
		err = errors.Join(err, f.close())
	}
	for _, s := range snapshots {
		err = errors.Join(err, s.Close())
	}
	return err
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if err := fromHere(r); err != nil {
		fail(w, http.StatusForbidden, err)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, h.limit)
	h.mux.ServeHTTP(w, r)
}

// fromHere refuses what a browser sends for a page of somebody else: such a request names another host (its name may lead
// here all the same), or another origin.
func fromHere(r *http.Request) error {
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return errors.New("the Host of a request is to be a loopback address or localhost, not " + host)
	}
	if o := r.Header.Get("Origin"); o != "" && o != "http://"+r.Host {
		return errors.New("requests of pages of another origin are refused")
	}
	if s := r.Header.Get("Sec-Fetch-Site"); s != "" && s != "same-origin" && s != "none" {
		return errors.New("requests of pages of another site are refused")
	}
	return nil
}

// status finds the HTTP status for an error.
func status(err error) int {
	for _, known := range []struct {
		err  error
		code int
	}{
		{kafka.ErrUnknownBroker, http.StatusNotFound},
		{partition.ErrUnknownTopicOrPartition, http.StatusNotFound},
		{group.ErrGroupIDNotFound, http.StatusNotFound},
		{group.ErrUnknownMemberID, http.StatusNotFound},
		{fs.ErrNotExist, http.StatusNotFound},
		{errNotThere, http.StatusNotFound},
		{partition.ErrTopicAlreadyExists, http.StatusConflict},
		{kafka.ErrBrokerIDInUse, http.StatusConflict},
		{kafkatest.ErrNoPowerLoss, http.StatusConflict},
		{kafkatest.ErrClosed, http.StatusServiceUnavailable},
		{errTimeout, http.StatusRequestTimeout},
		{errUnexpected, http.StatusConflict},
		{partition.ErrInvalidConfig, http.StatusBadRequest},
		{partition.ErrInvalidTopic, http.StatusBadRequest},
		{partition.ErrInvalidPartitions, http.StatusBadRequest},
		{errBadRequest, http.StatusBadRequest},
	} {
		if errors.Is(err, known.err) {
			return known.code
		}
	}
	return http.StatusInternalServerError
}

// Health answers /healthz and /readyz. The zero Health is alive, and not ready.
type Health struct{ ready atomic.Bool }

// Set says whether all listeners take connections.
func (h *Health) Set(ready bool) { h.ready.Store(ready) }

// ServeHTTP answers 200, or 503 to /readyz while it is not ready.
func (h *Health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	switch {
	case r.URL.Path == "/healthz":
		w.Write([]byte("ok\n"))
	case r.URL.Path == "/readyz" && h.ready.Load():
		w.Write([]byte("ready\n"))
	case r.URL.Path == "/readyz":
		w.WriteHeader(http.StatusServiceUnavailable)
		w.Write([]byte("not ready\n"))
	default:
		http.NotFound(w, r)
	}
}
