package control

import "fmt"

// kinds of commands. Numbers are never used again.
const (
	kindNoOp uint8 = iota
	kindRegister
	kindUnregister
	kindFence
	kindUnfence
	kindBeginShutdown
	kindAlterPartitions
	kindOfflineReplicas
	kindOnlineReplicas
	kindCreateTopic
	kindDeleteTopic
	kindGrowTopic
	kindConfigureTopic
	kindConfigureCluster
	kindCatalogue
	kindReassign
	kindElect
	kindSetFeature
	kindResign
	kinds // how many there are
)

// Encode appends the encoding of a command: its kind, the feature level that it needs, and its fields.
func Encode(dst []byte, c Command) []byte {
	w := &writer{dst}
	level := LevelBase // a command that comes with a later level says so
	head := func(kind uint8) {
		w.b = append(w.b, kind)
		w.int(int64(level))
	}
	switch c := c.(type) {
	case NoOp:
		head(kindNoOp)
	case Register:
		if c.ControllerOnly {
			level = LevelRoles
		}
		head(kindRegister)
		w.int(int64(c.ID))
		w.id(c.Incarnation)
		w.id(c.DirectoryID)
		w.string(c.Addr)
		w.listeners(c.Listeners)
		w.string(c.Rack)
		w.int(int64(c.MinFeature))
		w.int(int64(c.MaxFeature))
		w.int(c.PreviousEpoch)
		w.int(c.Replaces)
		w.id(c.PreviousIncarnation)
		if c.ControllerOnly {
			w.bool(true)
		}
	case Unregister:
		head(kindUnregister)
		w.int(int64(c.ID))
	case Fence:
		head(kindFence)
		w.registration(c.Node, c.Epoch)
	case Unfence:
		head(kindUnfence)
		w.registration(c.Node, c.Epoch)
	case BeginShutdown:
		head(kindBeginShutdown)
		w.registration(c.Node, c.Epoch)
	case AlterPartitions:
		head(kindAlterPartitions)
		w.registration(c.Node, c.Epoch)
		writeList(w, c.Partitions, func(p AlterPartition) {
			w.partition(p.Partition)
			w.int(int64(p.LeaderEpoch))
			w.int(int64(p.PartitionEpoch))
			writeList(w, p.ISR, func(m Member) { w.registration(m.Node, m.Epoch) })
			w.bool(p.Recovering)
		})
	case OfflineReplicas:
		head(kindOfflineReplicas)
		w.registration(c.Node, c.Epoch)
		writeList(w, c.Partitions, w.partition)
	case OnlineReplicas:
		head(kindOnlineReplicas)
		w.registration(c.Node, c.Epoch)
		writeList(w, c.Partitions, w.partition)
	case Resign:
		level = LevelRoles
		head(kindResign)
		w.registration(c.Node, c.Epoch)
		writeList(w, c.Partitions, w.partition)
	case CreateTopic:
		head(kindCreateTopic)
		w.event(c.Event)
		w.id(c.ID)
		w.string(c.Name)
		w.topicConfig(c.Config)
		w.assignment(c.Assignment)
	case DeleteTopic:
		head(kindDeleteTopic)
		w.event(c.Event)
		w.id(c.ID)
	case GrowTopic:
		head(kindGrowTopic)
		w.event(c.Event)
		w.id(c.ID)
		w.int(int64(c.From))
		w.assignment(c.Assignment)
	case ConfigureTopic:
		head(kindConfigureTopic)
		w.event(c.Event)
		w.id(c.ID)
		w.topicConfig(c.Config)
	case ConfigureCluster:
		head(kindConfigureCluster)
		w.event(c.Event)
		w.clusterConfig(c.Config)
	case Catalogue:
		head(kindCatalogue)
		w.event(c.Event)
	case Reassign:
		head(kindReassign)
		writeList(w, c.Partitions, func(p Reassignment) {
			w.partition(p.Partition)
			w.bool(p.Target == nil)
			w.nodes(p.Target)
		})
		w.bool(c.KeepFactor)
	case Elect:
		head(kindElect)
		w.bool(c.Unclean)
		w.bool(c.Partitions == nil)
		writeList(w, c.Partitions, w.partition)
	case SetFeature:
		head(kindSetFeature)
		w.int(int64(c.Level))
	case Unknown:
		w.b = append(w.b, c.Kind)
		w.int(int64(c.Level))
		w.b = append(w.b, c.Body...)
	default:
		panic(fmt.Sprintf("BUG: command %T", c))
	}
	return w.b
}

// Decode reads a command. A kind that this build does not know, or a known one at a level above MaxLevel, is an Unknown; fields behind those that are known
// are passed over. Payloads are src's own bytes. The error is ErrMalformed.
func Decode(src []byte) (Command, error) {
	if len(src) == 0 {
		return nil, fmt.Errorf("%w: empty command", ErrMalformed)
	}
	kind := src[0]
	r := &reader{b: src[1:]}
	level := r.int16()
	if r.err != nil {
		return nil, r.err
	}
	if kind >= kinds || level > MaxLevel {
		return Unknown{Kind: kind, Level: level, Body: r.b}, nil
	}
	c := decode(kind, level, r)
	if r.err != nil {
		return nil, r.err
	}
	return c, nil
}

func decode(kind uint8, level int16, r *reader) Command {
	switch kind {
	case kindRegister:
		c := Register{ID: r.node(), Incarnation: r.id(), DirectoryID: r.id(), Addr: r.string(), Listeners: r.listeners(), Rack: r.string()}
		c.MinFeature, c.MaxFeature, c.PreviousEpoch, c.Replaces, c.PreviousIncarnation = r.int16(), r.int16(), r.int(), r.int(), r.id()
		if level >= LevelRoles {
			c.ControllerOnly = r.bool()
		}
		return c
	case kindUnregister:
		return Unregister{ID: r.node()}
	case kindFence:
		return Fence{r.node(), r.int()}
	case kindUnfence:
		return Unfence{r.node(), r.int()}
	case kindBeginShutdown:
		return BeginShutdown{r.node(), r.int()}
	case kindAlterPartitions:
		return AlterPartitions{r.node(), r.int(), list(r, func(r *reader) AlterPartition {
			return AlterPartition{r.partition(), r.int32(), r.int32(), list(r, func(r *reader) Member { return Member{r.node(), r.int()} }), r.bool()}
		})}
	case kindOfflineReplicas:
		return OfflineReplicas{r.node(), r.int(), list(r, (*reader).partition)}
	case kindOnlineReplicas:
		return OnlineReplicas{r.node(), r.int(), list(r, (*reader).partition)}
	case kindResign:
		return Resign{r.node(), r.int(), list(r, (*reader).partition)}
	case kindCreateTopic:
		return CreateTopic{r.event(), r.id(), r.string(), r.topicConfig(), r.assignment()}
	case kindDeleteTopic:
		return DeleteTopic{r.event(), r.id()}
	case kindGrowTopic:
		return GrowTopic{r.event(), r.id(), r.int32(), r.assignment()}
	case kindConfigureTopic:
		return ConfigureTopic{r.event(), r.id(), r.topicConfig()}
	case kindConfigureCluster:
		return ConfigureCluster{r.event(), r.clusterConfig()}
	case kindCatalogue:
		return Catalogue{r.event()}
	case kindReassign:
		return Reassign{list(r, func(r *reader) Reassignment {
			p, cancel := r.partition(), r.bool()
			target := r.nodes()
			if cancel {
				target = nil
			} else if target == nil {
				target = []NodeID{}
			}
			return Reassignment{p, target}
		}), r.bool()}
	case kindElect:
		c, all := Elect{Unclean: r.bool()}, r.bool()
		if c.Partitions = list(r, (*reader).partition); all {
			c.Partitions = nil
		} else if c.Partitions == nil {
			c.Partitions = []PartitionID{}
		}
		return c
	case kindSetFeature:
		return SetFeature{r.int16()}
	}
	return NoOp{}
}

func (w *writer) registration(id NodeID, epoch int64) {
	w.int(int64(id))
	w.int(epoch)
}

func (w *writer) event(e Event) {
	w.sized(func() {
		w.uint(e.Expect)
		w.uint(uint64(e.Kind))
		w.bytes(e.Payload)
	})
}

func (r *reader) event() (e Event) {
	r.sized(func(r *reader) {
		e.Expect = r.uint()
		kind := r.uint()
		if kind > 255 {
			r.fail("a kind of event")
		}
		e.Kind, e.Payload = uint8(kind), r.bytes()
	})
	return e
}

func (w *writer) topicConfig(c TopicConfig) {
	w.sized(func() {
		w.int(int64(c.MinISR))
		w.int(int64(c.Unclean))
	})
}

func (r *reader) topicConfig() (c TopicConfig) {
	r.sized(func(r *reader) { c.MinISR, c.Unclean = r.int32(), Choice(r.within(int64(ClusterDefault), int64(No))) })
	return c
}

func (w *writer) clusterConfig(c ClusterConfig) {
	w.sized(func() {
		w.int(int64(c.MinISR))
		w.bool(c.Unclean)
	})
}

func (r *reader) clusterConfig() (c ClusterConfig) {
	r.sized(func(r *reader) { c.MinISR, c.Unclean = r.int32(), r.bool() })
	return c
}

func (w *writer) listeners(all []Listener) {
	writeList(w, all, func(l Listener) {
		w.string(l.Name)
		w.int(int64(l.Protocol))
		w.string(l.Host)
		w.uint(uint64(l.Port))
	})
}

func (r *reader) listeners() []Listener {
	return list(r, func(r *reader) Listener {
		l := Listener{Name: r.string(), Protocol: r.int16(), Host: r.string()}
		port := r.uint()
		if port > 65535 {
			r.fail("a port")
		}
		l.Port = uint16(port)
		return l
	})
}
