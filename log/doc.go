// Package log keeps one partition's records on disk, in Apache Kafka's files.
package log
