package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/partlog/partlog/kafka/kafkatest"
	"github.com/partlog/partlog/kafka/partlogd/internal/control"
)

// web is the HTTP side: the control endpoint and the probes, each if it is wanted.
type web struct {
	health          control.Health
	control, probes net.Listener // nil: not wanted
	handler         *control.Handler
	servers         []*http.Server
	running         sync.WaitGroup
}

// open listens. Requests are answered after serve.
func (w *web) open(o *options) error {
	for _, l := range []struct {
		flag, address string
		into          *net.Listener
	}{{"--control", o.control, &w.control}, {"--health", o.health, &w.probes}} {
		if l.address == "" {
			continue
		}
		listener, err := net.Listen("tcp", l.address)
		if err != nil {
			return fmt.Errorf("%s: %w", l.flag, err)
		}
		*l.into = listener
	}
	if w.probes != nil { // from the start: it is alive, and not ready yet
		w.start(w.probes, &w.health)
	}
	return nil
}

// serve answers requests about a cluster.
func (w *web) serve(c *kafkatest.Cluster, fork func(*kafkatest.Snapshot) (*kafkatest.Cluster, error)) {
	if w.control != nil {
		w.handler = control.New(c, fork, &w.health)
		w.start(w.control, w.handler)
	}
}

func (w *web) start(l net.Listener, h http.Handler) {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	w.servers = append(w.servers, s)
	w.running.Go(func() { _ = s.Serve(l) }) // returns when the server is closed
}

// address is where a listener is, empty without one.
func (w *web) address(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}

// close ends everything. Requests in hand have a moment.
func (w *web) close() (err error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, s := range w.servers {
		if serr := s.Shutdown(ctx); serr != nil {
			serr = s.Close()
			err = errors.Join(err, serr)
		}
	}
	for _, l := range []net.Listener{w.control, w.probes} {
		if l != nil {
			l.Close() // a second time, most often
		}
	}
	w.running.Wait()
	if w.handler != nil {
		err = errors.Join(err, w.handler.Close())
	}
	w.servers, w.handler, w.control, w.probes = nil, nil, nil, nil
	return err
}
