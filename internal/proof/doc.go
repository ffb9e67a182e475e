// Package proof decides what is asked to prove the way back before it is needed, and what the answers mean: whether replies
// to each address that a link gives to connections come back by that link's path.
package proof
