package control

import "github.com/partlog/partlog/kafka/kafkatest"

// fork is a cluster of its own on a copy of the store.
type fork struct {
	cluster *kafkatest.Cluster
	handler *Handler
}

func (f *fork) close() error { return f.cluster.Close() }

func (h *Handler) forkRoutes() {}
