"""Scorecard: what methods of making a model express an emotion achieve, and what they cost."""
