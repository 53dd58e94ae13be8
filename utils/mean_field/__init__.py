"""Variational Bayes: the best approximation of a posterior among products of factors.

For any q, log p(x) = ELBO(q) + KL(q || p(theta | x)), where ELBO(q) is the expectation
of log p(x, theta) - log q(theta) under q. In a product of factors, the best q_j, given
the others, has log q_j = E_others[log p(x, theta)] + const: to update one after the
other is coordinate ascent, which cannot lower the ELBO.

`NormalGamma` has the exact posterior of a Gaussian's mean and precision beside its
mean-field approximation; `VariationalGaussianMixture` is the Bayesian mixture of
Gaussians with full covariances.

Sources: Bishop (2006), Pattern Recognition and Machine Learning, ch. 10; Murphy (2007),
Conjugate Bayesian analysis of the Gaussian distribution, section 3; Hoffman, Blei, Wang
and Paisley (2013), Stochastic variational inference, JMLR 14.
"""

from utils.mean_field.gaussian import MeanField, NormalGamma
from utils.mean_field.mixture import VariationalGaussianMixture

__all__ = ["MeanField", "NormalGamma", "VariationalGaussianMixture"]
